"""report, export, doctor and demo, on a run that was just recorded."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

from picojoule.cli import main

PICOJOULE = [sys.executable, "-m", "picojoule"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    import picojoule as pj

    folder = tmp_path_factory.mktemp("recorded") / "run.pj"
    with pj.profile("recorded", output=str(folder)), pj.region("sum"):
        sum(range(10**6))
    return str(folder)


def test_report(run, capsys):
    assert main(["report", run]) == 0
    out, err = capsys.readouterr()
    assert "recorded" in out
    assert "sum" in out
    assert "\x1b" not in out
    assert err == ""


def test_report_to_html(run, tmp_path, capsys):
    page = tmp_path / "run.html"
    assert main(["report", run, "--html", str(page)]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert str(page) in err
    assert page.read_text().lstrip().lower().startswith("<!doctype html>")


def test_report_of_nothing(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    for path in ("absent", "empty"):
        assert main(["report", str(tmp_path / path)]) == 1
        err = capsys.readouterr().err
        assert err.startswith("picojoule: error: ")
        assert path in err
        assert err.count("\n") == 1


def test_report_to_an_unwritable_place(run, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["report", run, "--html", str(tmp_path / "file" / "x.html")]) == 1
    assert capsys.readouterr().err.startswith("picojoule: error: ")
    assert main(["report", run, "--html", str(tmp_path / "absent" / "x.html")]) == 1
    assert f"there is no folder {tmp_path / 'absent'}" in capsys.readouterr().err


def test_every_format_can_be_written_to_a_file(run, tmp_path):
    from picojoule.errors import MissingExtraError
    from picojoule.reports import EXPORTERS

    for name in EXPORTERS:
        target = tmp_path / f"run.{name}"
        try:
            status = main(["export", run, "--to", name, "-o", str(target)])
        except MissingExtraError:
            pytest.fail("main() shall not raise")
        assert status in (0, 1), name  # 1: an extra is missing
        assert status == 1 or target.exists(), name


def test_export_to_stdout(run):
    done = subprocess.run(
        [*PICOJOULE, "export", run, "--to", "json"], capture_output=True, timeout=60, check=True
    )
    assert json.loads(done.stdout)
    assert done.stderr == b""


def test_unknown_format_lists_the_known(run, capsys):
    assert main(["export", run, "--to", "punchcards"]) == 2
    err = capsys.readouterr().err
    assert "punchcards" in err
    assert "json" in err


@pytest.mark.parametrize("words", [["report"], ["export", "--to", "json"]])
def test_reader_that_goes_away_is_no_fault(words, run):
    """As in ``picojoule report run.pj | head -1``."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        [*PICOJOULE, words[0], run, *words[1:]],
        stdout=write_end,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    os.close(write_end)
    assert (done.returncode, done.stderr) == (141, b"")


def test_report_where_the_terminal_knows_only_ascii(run):
    done = subprocess.run(
        [*PICOJOULE, "report", run],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_doctor(capsys):
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "cpu_estimate" in out
    assert "Numbers here will be" in out
    assert re.search(r"python \d", out)


def test_doctor_as_json(capsys):
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "picojoule.doctor/1"
    said = [finding for meter in found["meters"] for finding in meter["findings"]]
    assert {finding["state"] for finding in said} <= {"works", "refused", "absent"}
    assert all(finding["why"] for finding in said)
    assert all(meter["findings"] for meter in found["meters"])  # those on request as well
    assert "perf_flops" in {meter["meter"] for meter in found["meters"]}


def test_doctor_says_what_the_numbers_will_be():
    from picojoule._doctor import Doctor, Finding, Meter

    def meter(name, default, state, *channels):
        offers = tuple({"domain": d, "provenance": p, "quantity": "energy"} for d, p in channels)
        return Meter(name, "", default, (Finding(state, "", "because", "mend it"),), offers)

    guess = meter("guess", "fallback", "works", ("cpu", "estimated"))
    gpu = meter("gpu", "yes", "works", ("gpu:0", "measured"))
    cpu = meter("cpu", "yes", "works", ("cpu:0/package", "modelled"))
    refused = meter("cpu", "yes", "refused")
    asked = meter("replay", "on_request", "works", ("gpu:0", "measured"))
    assert not Doctor((), {}).measured
    assert "unknown" in Doctor((refused,), {}).verdict()
    assert not Doctor((refused, guess, asked), {}).measured
    assert "estimated" in str(Doctor((refused, guess), {}))
    assert Doctor((guess, gpu), {}).provenances == ("measured", "estimated")
    assert Doctor((guess, gpu, cpu), {}).provenances == ("measured", "modelled")
    assert "to mend it: mend it" in str(Doctor((refused,), {}))


def test_demo(capsys):
    assert main(["demo", "--seconds", "0.5"]) == 0
    out = capsys.readouterr().out
    for name in ("forward", "backward", "update", "picojoule run"):
        assert name in out
