"""The report says what a study found and cost, on a screen and as a page, and nothing it cannot."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import math
import re
from html.parser import HTMLParser

import pytest

from picojoule.errors import UsageError
from picojoule.green import report, report_html, report_text
from picojoule.green.model import Study
from picojoule.reports._text import cells

from . import people_studies as people


def screen(study, **options):
    return report_text.render(
        report.of(study), **{"width": 80, "color": False, "unicode": True, **options}
    )


# ---- the value ----


def test_a_family_on_its_law():
    """Score = 0.5 + 0.1 log10(cost): a hundredth costs 10^0.1 times as much."""
    r = report.of(people.family())
    assert r.score_name == "accuracy" and r.larger_is_better
    assert len(r.points) == 12 and all(p.front for p in r.points)
    log = next(p for p in r.prices if p.law == "log")
    assert log.next_point.factor == pytest.approx(10**0.1, rel=1e-6)
    extra = log.next_point.prices["energy"].to("J")
    assert extra == pytest.approx(10**7.8 * (10**0.1 - 1), rel=1e-6)
    # What a kilowatt-hour emits is the same for the next one.
    ratio = r.figure("co2e").quantity.value / r.figure("it_energy").quantity.value
    assert log.next_point.prices["co2e"].value / extra == pytest.approx(ratio)


def test_every_joule_is_in_one_part():
    for name in ("family", "failures", "loso", "hostile"):
        study = people.EVERY[name]()
        r = report.of(study)
        assert sum(p.runs for p in r.parts) == len(study)
        joules = math.fsum(run.energy_j for run in study)
        assert sum(p.energy.to("J") for p in r.parts) == pytest.approx(joules)
        assert sum(p.share for p in r.parts) == pytest.approx(1.0)
    failures = {p.label: p.runs for p in report.of(people.with_failures()).parts}
    assert failures == {
        "the result": 1, "other tuning": 11, "debugging": 1, "pruned": 1, "without a result": 2,
    }  # fmt: skip


def test_folds_are_no_hyper_parameters():
    r = report.of(people.loso())
    assert (r.edh.configs, r.edh.folds, r.edh.seeds) == (1, 4, 1)
    (score,) = r.scores
    assert (score.mean, score.over) == (pytest.approx(0.475), "4 folds")
    assert score.std == pytest.approx(0.0645, abs=1e-4)
    assert score.by_fold == {
        "ITCL": 0.4, "BrainSigns": 0.5, "Audeering": 0.45, "Cambridge": 0.55,
    }  # fmt: skip
    assert r.figure("device_hours").text == "46.0 h"
    assert r.figure("wall_s").text == "46.0 h"
    assert r.figure("wall_parallel_s").text == "11.5 h"


@pytest.mark.parametrize(
    ("study", "said"),
    [
        (people.empty, "no run has a score"),
        (people.bare, "no run has a score"),
        (lambda: people.loso(energy=False), "energy of no run is known"),
        (people.loso, "a point and no curve"),
        (lambda: people.family(n=1), "one run"),
        (lambda: people.family(n=3), "3 distinct costs"),
    ],
)
def test_what_cannot_be_priced_is_refused_with_a_reason(study, said):
    r = report.of(study())
    assert all(p.next_point is None for p in r.prices)
    assert said in r.prices[0].reason
    assert said in screen(study()) and said in report_html.render(r)


def test_losses():
    base = people.family()
    runs = [
        dataclasses.replace(
            r,
            scores={"loss": 1.0 - r.scores["accuracy"]},
            score_larger_is_better={"loss": False},
        )
        for r in base
    ]
    r = report.of(Study("losses", runs, base.settings))
    assert not r.larger_is_better and all(p.front for p in r.points)
    assert r.prices[0].next_point.factor == pytest.approx(10**0.1, rel=1e-6)


def test_a_score_that_is_not_there():
    with pytest.raises(UsageError, match="accuracy"):
        report.of(people.family(), score="f1")


def test_settings_go_before_those_of_the_study():
    a, b = (report.of(people.family(), {"region": c}) for c in ("FRA", "POL"))
    assert b.figure("co2e").quantity.value > 10 * a.figure("co2e").quantity.value


def test_many_points_are_thinned_and_the_front_is_kept():
    many = people.family(n=12)
    runs = [*many] + [
        people.run(
            1000 + i,
            scores={"accuracy": 0.4},
            energy_j=2e6 + i,
            energy_low_j=math.nan,
            energy_high_j=math.nan,
        )
        for i in range(5000)
    ]
    r = report.of(Study("many", runs, many.settings))
    assert len(r.points) + r.points_hidden == 5012
    assert len(r.points) <= report.MOST_POINTS + 12
    assert sum(p.front for p in r.points) == 12


# ---- the screen ----


@pytest.mark.parametrize("name", people.EVERY)
@pytest.mark.parametrize("width", [24, 40, 80, 120])
@pytest.mark.parametrize("unicode", [True, False])
def test_fits_any_screen(name, width, unicode):
    text = screen(people.EVERY[name](), width=width, unicode=unicode)
    assert max(cells(line) for line in text.splitlines()) <= width
    assert unicode or text.isascii()
    assert "\x1b" not in text and "\u202e" not in text
    assert not re.search(r"\bnan\b|\binf\b", text)


def test_what_the_screen_says():
    text = screen(people.with_failures())
    for words in (
        "accuracy 0.6802",
        "57.0 kWh (55.3 to 58.8) of the IT equipment, measured",
        "14.4 kg (13.5 to 15.4), measured energy, published factor",
        "1 failed",
        "3.25 by cost",
        "without a result",
        "+0.01 accuracy costs 1.26",
        "expected best of n trials",
        "Ember 2024",
    ):
        assert words in text, words


def test_unknown_is_unknown():
    text = screen(people.loso(energy=False))
    assert "energy  unknown" in text and "CO2e    unknown" in text
    assert "device not named" in text and "say pue=" in text.replace("\n    ", " ")
    assert not re.search(r"\b0(?:\.0+)? ?(?:k?Wh|J|k?g)\b", text)


def test_colour_only_where_it_is_wanted(monkeypatch):
    r = report.of(people.family())
    plain = report_text.render(r, width=80, color=False, unicode=True)
    painted = report_text.render(r, width=80, color=True, unicode=True)
    assert re.sub(r"\x1b\[\d+m", "", painted) == plain != painted
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[" in report_text.render(r, width=80, unicode=True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert report_text.render(r, width=80, unicode=True) == plain


# ---- the page ----

VOID = {"meta", "link", "br", "img", "hr", "input"}


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.elements, self.styles, self.words = [], [], [], []
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
        (self.styles if self.open and self.open[-1] == "style" else self.words).append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


@pytest.mark.parametrize("name", people.EVERY)
def test_the_page_is_whole_and_closed_to_the_outside(name):
    text = report_html.render(report.of(people.EVERY[name]()))
    page = Page(text)
    assert page.open == []
    assert "http:" not in text and "https:" not in text
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))
    for tag, attributes in page.elements:
        assert tag not in ("script", "iframe", "object", "embed", "form", "img", "base")
        assert "style" not in attributes, "the policy would drop it"
        assert not [a for a in attributes if a.startswith("on")]
        for key in ("src", "href"):
            assert attributes.get(key, "data:,") == "data:,"
    policy = next(
        a["content"] for t, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"
    )
    digest = base64.b64encode(hashlib.sha256("".join(page.styles).encode()).digest()).decode()
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'" and rules["style-src"] == f"'sha256-{digest}'"
    assert "script-src" not in rules and "unsafe" not in policy
    assert not re.search(r"\bnan\b|\binf\b", page.text, re.I)
    assert "nan" not in " ".join(str(v) for _, a in page.elements for v in a.values() if v).lower()


def test_hostile_names_stay_text_in_the_page():
    text = report_html.render(report.of(people.hostile()))
    assert "<script" not in text and "\x1b" not in text and "\u202e" not in text
    assert "<script>alert(1)</script>" in Page(text).text


def test_what_the_page_says():
    r = report.of(people.with_failures())
    text = Page(report_html.render(r)).text
    for words in (
        "57.0 kWh",
        "measured energy, published factor",
        "3.25 ×",
        "+0.01 accuracy costs × 1.26",
        "Expected best of n trials",
        "without a result",
        "Ember 2024, United Kingdom (GBR)",
        "own PUE",
        "lost",
    ):
        assert words in text, words


def test_every_figure_and_factor_stands_in_the_page_with_its_account():
    for name in ("failures", "loso", "loso unknown"):
        r = report.of(people.EVERY[name]())
        text = Page(report_html.render(r)).text
        for f in [*r.figures, *r.factors]:
            assert f.label in text and f.text in text
            assert " ".join(f.basis.split()) in text


def test_points_and_front_are_drawn():
    r = report.of(people.with_failures())
    page = Page(report_html.render(r))
    circles = [a["class"] for t, a in page.elements if t == "circle" and "run" in a["class"]]
    assert len(circles) == 2 * len(r.points)
    assert sum("front" in c for c in circles) == 2 * sum(p.front for p in r.points)
    for t, a in page.elements:
        if t == "circle" and "run" in a["class"]:
            assert 0 <= float(a["cx"]) <= 1040 and 0 <= float(a["cy"]) <= 400
