import base64
import hashlib
import json
import re
import stat
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from picojoule.reports import _plot, html

from . import profiles

VOID = {"meta", "link", "br", "img", "hr", "input"}


class Page(HTMLParser):
    """Text, elements and their nesting, as a browser would find them."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.elements, self.content, self.words = [], [], {}, []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("script", "style"):
            self.content.setdefault(self.open[-1], []).append(data)
        else:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    @property
    def data(self):
        return json.loads(self.content["script"][0])


@pytest.mark.parametrize("name", profiles.EVERY)
def test_the_page_is_whole_and_closed_to_the_outside(name):
    text = html.render(profiles.EVERY[name]())
    page = Page(text)
    assert page.open == []
    assert "http:" not in text and "https:" not in text and "//www" not in page.text
    for tag, attributes in page.elements:
        assert tag not in ("iframe", "object", "embed", "form", "img", "base")
        assert "style" not in attributes, "the policy would drop it"
        assert not [a for a in attributes if a.startswith("on")]
        for key in ("src", "href"):
            assert attributes.get(key, "data:,") == "data:,"
    assert len(page.content["script"]) == 2


@pytest.mark.parametrize("name", ["training", "hostile"])
def test_the_policy_names_exactly_what_the_page_carries(name):
    page = Page(html.render(profiles.EVERY[name]()))
    policy = next(
        a["content"] for t, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"
    )
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))

    def digest(content):
        found = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        return f"'sha256-{found}'"

    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    assert rules["style-src"] == digest(page.content["style"][0])
    assert rules["script-src"] == digest(page.content["script"][1])
    assert "unsafe" not in policy


def test_hostile_names_stay_text():
    text = html.render(profiles.hostile())
    page = Page(text)
    assert "<script>alert(1)</script>" not in text
    assert text.count("</script>") == 2 and text.count("<script") == 2
    assert "<!--" not in text and "\x1b" not in text and "\u202e" not in text
    assert "<script>alert(1)</script>" in page.text
    assert ["<script>alert(1)</script>"] in page.data["paths"]
    text.encode("utf-8")


@pytest.mark.parametrize("name", profiles.EVERY)
def test_small_but_for_its_data(name):
    text = html.render(profiles.EVERY[name]())
    page = Page(text)
    rows = sum(tag == "tr" for tag, _ in page.elements)
    assert len(text) - len(page.content["script"][0]) < 60_000 + 1200 * rows


def test_what_the_page_says():
    text = Page(html.render(profiles.training())).text
    for words in (
        "resnet50, 3 epochs",
        "~14.1 kJ",
        "[13.1, 16.1]",
        "kWh",
        "part estimated",
        "no reading for 2.2 s of 48 s",
        "Not measured",
        "sudo chmod a+r",
        "sampler 0.1 % of one core",
        "AMD EPYC 9554",
        "absolute scale good to 2.5 %",
        "not added to the total",
        "cpu, estimated",
        "Without JavaScript",
    ):
        assert words in text


def test_every_unit_of_a_headline_is_set_smaller():
    profile = profiles.training()
    page = html.render(replace(profile, end_ns=profile.begin_ns + 245 * 10**9))
    assert '<p class="big">4 <span>min</span> 05 <span>s</span></p>' in page


def test_estimated_series_say_so_in_the_data():
    data = Page(html.render(profiles.training())).data
    assert {s["domain"]: s["provenance"] for s in data["series"]} == {
        "gpu:0": "measured",
        "cpu": "estimated",
    }
    gpu = data["series"][0]
    assert len(gpu["t"]) == len(gpu["w"]) + 1
    assert None in gpu["w"], "a gap is no number"
    assert data["gaps"][0][1] == 21.0


def test_nothing_measured_is_unknown():
    page = Page(html.render(profiles.empty()))
    assert "unknown" in page.text
    assert not re.search(r"\b0(\.0+)? [kmµ]?[JW]\b", page.text)


def test_unresolved_regions_have_no_zero_and_no_bar():
    text = html.render(profiles.training())
    row = re.search(r"<tr[^>]*>(?:(?!</tr>).)*checkpoint.*?</tr>", text, re.S).group()
    assert "~12 J" in row and "<rect" not in row


def test_ten_thousand_regions_are_cut_and_it_is_said():
    page = Page(html.render(profiles.many_regions(10_000)))
    assert sum("data-depth" in a for _, a in page.elements) == 2000
    assert "8,000 smaller regions are not in this page" in page.text
    assert len(page.data["spans"]) <= _plot.MOST_RECTANGLES
    assert "short region calls are drawn together" in page.text


def test_the_fragment_is_static_and_alone():
    text = html.fragment(profiles.hostile())
    page = Page(text)
    assert page.open == []
    assert {t for t, _ in page.elements}.isdisjoint({"script", "style", "link", "meta"})
    assert "http" not in text
    assert "<script>alert(1)</script>" in page.text
    assert "svg" in {t for t, _ in page.elements}


def test_write_is_all_or_nothing(tmp_path, monkeypatch):
    target = tmp_path / "run.html"
    html.write(profiles.training(), target)
    assert target.read_text(encoding="utf-8").endswith("</html>\n")
    assert list(tmp_path.iterdir()) == [target]
    before = target.read_bytes()
    target.chmod(0o640)

    def fail(*_args):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("pathlib.Path.replace", fail)
        with pytest.raises(OSError, match=r"No space left.*run\.html"):
            html.write(profiles.empty(), target)
    assert target.read_bytes() == before and list(tmp_path.iterdir()) == [target]
    html.write(profiles.empty(), target)
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


@pytest.mark.parametrize("where", ["missing/run.html", "."])
def test_a_path_that_cannot_be_written_is_named(tmp_path, where):
    with pytest.raises(OSError) as caught:
        html.write(profiles.empty(), tmp_path / where)
    assert str(tmp_path) in str(caught.value)
    assert ("there is no folder" in str(caught.value)) == (where != ".")


# ---- thinning ----


def test_decimation_keeps_extremes_ends_and_order():
    series = profiles.many_readings(1_000_000).power[0]
    edges, watts = _plot.decimate(series.edges_ns, series.watts)
    assert len(watts) <= _plot.MOST_POINTS and len(edges) == len(watts) + 1
    assert watts.max() == series.watts.max() == 9999.0
    assert watts.min() == series.watts.min() == 0.25
    assert (edges[0], edges[-1]) == (series.edges_ns[0], series.edges_ns[-1])
    assert (np.diff(edges) >= 0).all()


def test_decimation_leaves_short_series_and_long_gaps_alone():
    edges, watts = np.arange(11, dtype="i8"), np.arange(10.0)
    assert _plot.decimate(edges, watts)[1] is watts
    watts = np.full(10_000, np.nan)
    watts[5000] = 7.0
    _, thin = _plot.decimate(np.arange(10_001, dtype="i8"), watts, 100)
    assert np.nanmax(thin) == 7.0 and np.isnan(thin).sum() == 98


def test_decimation_keeps_which_came_first():
    watts = np.array([1.0, 5.0, 3.0, 9.0, 2.0, 4.0] * 10)
    _, thin = _plot.decimate(np.arange(61, dtype="i8"), watts, 20)
    assert thin[:2].tolist() == [1.0, 9.0]
    _, thin = _plot.decimate(np.arange(61, dtype="i8"), watts[::-1].copy(), 20)
    assert thin[:2].tolist() == [9.0, 1.0]


def test_bands_count_every_call_and_name_the_longest():
    n = 60_000
    rows = [(10 * i / n, 10 * (i + 0.9) / n, 2 if i % 3 else 1, 1) for i in range(n)]
    profile = profiles.build(spans=profiles.spans_of(rows), paths=((), ("rare",), ("often",)))
    bands = _plot.bands(profile)
    assert len(bands.rectangles) <= _plot.MOST_RECTANGLES
    assert sum(r[4] for r in bands.rectangles) == n == bands.merged
    assert {r[3] for r in bands.rectangles} == {2}
    assert all(begin <= end for _, begin, end, _, _ in bands.rectangles)


def test_bands_of_nested_calls_lie_on_lanes_of_their_own():
    bands = _plot.bands(profiles.training())
    assert bands.lanes == [(1, 0), (1, 1), (1, 2), (2, 2)]
    assert bands.merged == 0
