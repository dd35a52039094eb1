import re

import pytest

from picojoule.reports import _text, table

from . import profiles

PROVENANCE = ("measured", "counted", "modelled", "estimated", "unknown")


def rows_of(text, title):
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(title))
    end = next((i for i in range(start, len(lines)) if not lines[i]), len(lines))
    return [line for line in lines[start + 1 : end] if not re.match(r"[†*^+] |without|  ", line)]


@pytest.mark.parametrize("name", profiles.EVERY)
@pytest.mark.parametrize("width", [40, 47, 60, 80, 100, 133, 200])
@pytest.mark.parametrize("unicode", [True, False])
def test_no_line_is_wider_than_the_terminal(name, width, unicode):
    text = table.render(profiles.EVERY[name](), width=width, color=False, unicode=unicode)
    assert max(_text.cells(line) for line in text.splitlines()) <= width
    assert unicode or text.isascii()


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_every_row_says_how_its_number_was_got(width):
    text = table.render(profiles.training(), width=width, color=False)
    lines = text.splitlines()
    for name in ("train ", "  epoch", "    backward", "evaluate", "cpu ", "gpu:0 "):
        row = next(line for line in lines if line.startswith(name))
        assert any(word in row for word in PROVENANCE)
    estimated = [line for line in lines if re.search(r"\d [kM]?J.*estimated", line)]
    assert len(estimated) >= 9
    assert all("~" in line for line in estimated)


def test_the_headline():
    text = table.render(profiles.training(), width=100, color=False)
    head = text.split("\n\n")[0]
    assert "resnet50, 3 epochs" in head
    assert "~14.1 kJ [13.1, 16.1] (95 %), part estimated" in head
    assert "48.0 s" in head and "~293 W mean" in head and "kWh" in head


def test_a_narrow_headline_keeps_number_interval_and_provenance():
    head = table.render(profiles.training(), width=40, color=False).split("\n\n")[0]
    assert "~14.1 kJ [13.1, 16.1] (95 %)\n          part estimated; ~0.00391 kWh" in head


def test_marks_and_their_footnotes():
    text = table.render(profiles.training(), width=100, color=False)
    assert "load batch *" in text and "* several calls were open at once" in text
    assert "evaluate ^" in text and "^ still open" in text
    assert "gpu:0/memory †" in text and "† not added to the total" in text
    checkpoint = next(line for line in text.splitlines() if "checkpoint" in line)
    assert "~12 J [2.9, 24]" in checkpoint and " 0 J" not in checkpoint
    assert "below the meter's resolution" in text


def test_an_overlapping_region_has_no_mean_power():
    text = table.render(profiles.training(), width=120, color=False)
    row = next(line for line in text.splitlines() if "load batch" in line)
    assert " W " not in row


def test_warnings_gaps_overhead_and_what_was_not_measured_are_said():
    text = " ".join(table.render(profiles.training(), width=100, color=False).split())
    for words in (
        "warning: gpu:0: no reading for 2.2 s",
        "gap: gpu:0: no reading for 2.20 s from 21.0 s: the driver did not answer",
        "sampler 0.1 % of one core",
        "3 meter ticks missed",
        "rapl: CPU package: the energy counter is readable by root only",
        "to mend it: sudo chmod",
        "not on this machine: amdsmi",
    ):
        assert words in text


def test_without_a_meter_everything_is_unknown_and_nothing_zero():
    text = table.render(profiles.empty(), width=80, color=False)
    assert "energy    unknown" in text
    assert not re.search(r"\b0(\.0+)? [kmµ]?[JW]\b", text)


def test_regions_without_a_meter_keep_their_times():
    region = profiles.region("work", {}, (), duration_s=2.0)
    text = table.render(
        profiles.build(regions=profiles.RegionTable([region])), width=80, color=False
    )
    assert "2.00 s" in text and "unknown" in text


def test_names_cannot_steer_the_terminal():
    text = table.render(profiles.hostile(), width=120, color=False)
    assert "\x1b" not in text and "\x07" not in text and "\u202e" not in text
    assert "line\\nbreak\\ttab\\r" in text
    assert len(rows_of(text, "Region")) == len(profiles.HOSTILE)


def test_long_names_keep_their_head_and_their_tail():
    assert _text.ellipsize("abcdefghij", 5) == "ab…ij"
    assert _text.ellipsize("abc", 3) == "abc"
    assert _text.cells(_text.ellipsize("名前は長い", 6)) <= 6


def test_the_largest_of_many_regions_with_their_ancestors():
    profile = profiles.many_regions(10_000)
    text = table.render(profile, width=80, color=False)
    assert len(text.splitlines()) < 120
    assert "9,900 smaller regions are not shown" in text
    whole = table.render(profile, width=80, color=False, limit=None)
    assert len(whole.splitlines()) > 10_000


@pytest.mark.parametrize(
    ("environment", "tty", "expected"),
    [
        ({}, False, False),
        ({}, True, True),
        ({"NO_COLOR": "1"}, True, False),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, True, False),
        ({"NO_COLOR": ""}, True, True),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"TERM": "dumb"}, True, False),
    ],
)
def test_when_there_is_colour(monkeypatch, environment, tty, expected):
    for key in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(key, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr("sys.stdout.isatty", lambda: tty)
    assert ("\x1b[" in table.render(profiles.training(), width=80)) is expected


def test_colour_changes_nothing_but_colour():
    plain = table.render(profiles.training(), width=90, color=False)
    coloured = table.render(profiles.training(), width=90, color=True)
    assert re.sub(r"\x1b\[\d+m", "", coloured) == plain


def test_render_is_pure():
    profile = profiles.training()
    assert table.render(profile, width=80) == table.render(profile, width=80)
