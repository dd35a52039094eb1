"""A study's report as one offline page: score against energy, E x D x H, the next point's price.

No script, no outside: the policy allows exactly the style sheet that the page carries.
"""

from __future__ import annotations

import datetime
import math
import os
from collections.abc import Sequence
from html import escape

from picojoule._version import __version__
from picojoule.green import _report_svg as _svg
from picojoule.green import figures
from picojoule.green.figures import Figure
from picojoule.green.report import Price, StudyReport
from picojoule.reports import _write, units
from picojoule.reports._markup import badge, e
from picojoule.reports._text import ellipsize
from picojoule.reports.html import _asset, _hash, _unit

_KINDS = {"energy": "Energy", "co2e": "CO2e", "money": "Money", "hours": "Device time"}


def write(report: StudyReport, path: str | os.PathLike[str]) -> None:
    """Write the page to ``path``, whole or not at all."""
    _write.write(path, render(report))


def render(report: StudyReport) -> str:
    """The page."""
    style = _asset("report.css") + "\n" + _asset("study.css")
    policy = "; ".join(
        (
            "default-src 'none'",
            f"style-src {_hash(style)}",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    title = e(ellipsize(report.name or "study", 120))
    sections = (
        _cards(report),
        _plot(report),
        _product(report),
        _pairs(report),
        _table("Figures", "figures", report.figures),
        _table("Factors", "factors", report.factors),
        _notes(report),
    )
    return (
        "<!doctype html>\n"
        '<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        '<meta name="referrer" content="no-referrer">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{title}: what the result cost</title>\n"
        f"<style>{style}</style>\n</head>\n<body>\n{_header(report, title)}\n<main>\n"
        + "\n".join(s for s in sections if s)
        + f"\n</main>\n<footer>picojoule {e(__version__)}. Ranges are 95 % where they are "
        "statistical. This page is one file and loads nothing.</footer>\n</body>\n</html>\n"
    )


def _header(r: StudyReport, title: str) -> str:
    c = r.counts
    facts = [
        _day(r.begin_wall_s),
        f"{c.runs:,} run{'s' * (c.runs != 1)}",
        _few(c.devices),
        _few(c.regions),
    ]
    line = " <i>·</i> ".join(e(f) for f in facts if f)
    return (
        '<header><div class="bar"><span class="mark">picojoule study</span></div>'
        f'<h1>{title}</h1><p class="sub">{line}</p></header>'
    )


def _day(wall_s: float) -> str:
    if not math.isfinite(wall_s):
        return ""
    try:
        return datetime.datetime.fromtimestamp(wall_s, tz=datetime.UTC).strftime("%Y-%m-%d")
    except (OverflowError, OSError, ValueError):
        return ""


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _cards(r: StudyReport) -> str:
    score = next((s for s in r.scores if s.name == r.score_name), None)
    energy, co2e = r.figure("it_energy"), r.figure("co2e")
    hours = r.figure("device_hours")
    value, notes = _split(co2e)
    method = co2e.how if co2e.quantity.known else ""
    cards = [
        (
            ellipsize(r.score_name, 40) if score else "Score",
            score.text.partition(" (")[0] if score else "none",
            [score.text.partition(" (")[2].rstrip(")") if score else "no run has a score"],
            "",
        ),
        ("IT energy", *_split(energy), _how(energy)),
        ("CO2e", value, [*notes, "location-based, operational", method], ""),
    ]
    ratio = r.edh.h_cost
    if math.isnan(ratio):
        cards.append(("Device time", *_split(hours), _how(hours)))
    else:
        times = f"{ratio:.3g} ×" if ratio > 1 else "1 ×"
        said = [f"its final experiment, {figures.shown(r.edh.final)}"]
        cards.append(("The study cost", times, said, ""))
    return '<section class="cards row4" aria-label="Headline">' + "".join(
        f'<div class="card{" main" * (i < 2)}"><h2>{e(name)}{tag}</h2>'
        f'<p class="big">{_unit(value)}</p>' + "".join(f"<p>{e(n)}</p>" for n in notes if n)
        + "</div>"
        for i, (name, value, notes, tag) in enumerate(cards)
    ) + "</section>"  # fmt: skip


def _split(f: Figure) -> tuple[str, list[str]]:
    """A figure's value, and under it its range or how to get to know it."""
    if not f.quantity.known:
        remedy = [w for w in f.basis.split("; ") if w.startswith("say ") or "say " in w]
        between = f.text.removeprefix("unknown").lstrip(", ")
        return "unknown", [between, (remedy or [f.basis])[-1]]
    value, gap, rest = f.text.partition(" (")
    return value, [rest.rstrip(")") if gap else ""]


def _how(f: Figure) -> str:
    return badge(f.quantity.provenance) if f.quantity.known else ""


def _title(text: str) -> str:
    return f'<div class="title"><h2>{text}</h2></div>'


def _refused(what: str, why: str) -> str:
    return f'<p class="refused"><b>{e(what)}</b> {e(why[:1].upper() + why[1:])}.</p>'


def _plot(r: StudyReport) -> str:
    head = f'<section id="tradeoff">{_title("Score against energy")}'
    if r.why_no_points:
        return head + _refused("No plot.", r.why_no_points) + "</section>"
    roles = dict.fromkeys(p.role for p in r.points)
    keys = [_key(f'<circle class="c{_svg.ROLE_COLORS.get(x, 5)}" cx="6" cy="6" r="5"/>', x)
            for x in roles]  # fmt: skip
    keys.append(_key('<path class="step" d="M0 9H6V3H12"/>', "front: no run beats it in both"))
    for i, price in enumerate(r.prices):
        if price.curve:
            line = f'<path class="law{" b" * (i > 0)}" d="M0 6H12"/>'
            keys.append(_key(line, f"{price.law} law"))
    if r.unscored:
        keys.append(_key('<line class="lost" x1="6" x2="6" y1="2" y2="11"/>', "no score"))
    notes = []
    if r.points_hidden:
        notes.append(f"{r.points_hidden:,} more runs off the front are not drawn.")
    if len(r.scores) > 1:
        others = ", ".join(s.name for s in r.scores if s.name != r.score_name)
        notes.append(f"Other scores: {others}.")
    return (
        f'{head}<ul class="keys">{"".join(keys)}</ul>'
        + _svg.scatter(r, 1040, 400, "large")
        + _svg.scatter(r, 440, 340, "small")
        + "".join(f'<p class="note">{e(n)}</p>' for n in notes)
        + "</section>"
    )


def _key(mark: str, words: str) -> str:
    return (
        f'<li><svg class="plot-key plot" width="12" height="12" aria-hidden="true">{mark}</svg>'
        f"{e(words)}</li>"
    )


def _product(r: StudyReport) -> str:
    h = r.edh
    each = figures.shown(h.per_example).partition(" (")
    why_d = next((n for n in h.notes if "examples" in n), "")
    by_count = "unknown" if math.isnan(h.configs) else f"{h.configs:,.0f} by count"
    boxes = [
        ("E", each[0], "for each example" if h.per_example.known else h.per_example.basis),
        (
            "D",
            "unknown" if math.isnan(h.examples) else units.count(h.examples),
            why_d if math.isnan(h.examples) else "examples in a run, epochs counted",
        ),
        ("K", f"{h.folds}", f"fold{'s' * (h.folds != 1)}"),
        ("S", f"{h.seeds}", f"seed{'s' * (h.seeds != 1)}"),
        ("H", "unknown" if math.isnan(h.h_cost) else f"{h.h_cost:.3g}", f"by cost; {by_count}"),
    ]
    cells = '<span class="op">×</span>'.join(
        f'<div class="f"><b>{name}</b><span>{e(value)}</span><small>{e(words)}</small></div>'
        for name, value, words in boxes
    )
    total = figures.shown(h.known).partition(" (")[0]
    whole = "the study" if not h.unknown_runs else f"the study, {h.unknown_runs:,} runs unknown"
    rows = "".join(
        f'<tr><th scope="row" class="name"><svg class="dot" width="10" height="10" '
        f'aria-hidden="true"><rect class="c{_svg.PART_COLORS[p.label]}" width="10" height="10" '
        f'rx="2"/></svg> {e(p.label)}</th><td class="num">{p.runs:,}</td>'
        f'<td class="num">{e(figures.shown(p.energy))}</td>'
        f'<td class="num">{"–" if math.isnan(p.share) else f"{p.share:.1%}"}</td></tr>'
        for p in r.parts
    )
    return (
        f'<section id="edh">{_title("Cost of the result: E × D × H")}<div class="product">{cells}'
        f'<span class="op">=</span><div class="f all"><b>IT energy</b><span>{e(total)}</span>'
        f"<small>{e(whole)}</small></div></div>{_svg.share_bar(r.parts)}"
        '<div class="scroll"><table><thead><tr><th scope="col">The energy went into</th>'
        '<th scope="col" class="num">Runs</th><th scope="col" class="num">IT energy</th>'
        f'<th scope="col" class="num">Share</th></tr></thead><tbody>{rows}</tbody></table></div>'
        "</section>"
    )


def _pairs(r: StudyReport) -> str:
    """What stands side by side where there is room; by fold only where there are folds."""
    price, best, runs, folds = _next(r), _best(r), _runs(r), _folds(r)
    if folds:
        return f'<div class="pair">{price}{best}</div><div class="pair">{runs}{folds}</div>'
    return f'<div class="pair">{price}<div>{best}{runs}</div></div>'


def _next(r: StudyReport) -> str:
    out = [f'<section id="next">{_title("The next point")}']
    priced = [p for p in r.prices if p.next_point is not None]
    reasons = {p.reason for p in r.prices}
    if not priced and len(reasons) == 1:
        out.append(_refused("No price.", reasons.pop()))
        return "".join(out) + "</section>"
    out += [_price(price, r.score_name) for price in r.prices]
    return "".join(out) + "</section>"


def _price(price: Price, score: str) -> str:
    p = price.next_point
    if p is None:
        return _refused(f"No price by the {price.law} law.", price.reason)
    rows = "".join(
        f'<tr><th scope="row" class="how">{_KINDS[kind]}</th><td>'
        + (
            f"+ {e(figures.shown(q))}"
            if q.known
            else f"unknown<small>{e(q.basis.split('; ')[-1])}</small>"
        )
        + "</td></tr>"
        for kind, q in p.prices.items()
    )
    return (
        f'<p class="price" title="{e(p.basis)}">+{p.delta:g} {e(ellipsize(score, 30))} '
        f"costs × {p.factor:.3g}</p>"
        f'<p class="note">{p.factor_low:.3g} to {p.factor_high:.3g} at {p.level:.0%}, by the '
        f"{price.law} law; on top of a run of the dearest configuration:</p>"
        f"<table><tbody>{rows}</tbody></table>"
    )


def _best(r: StudyReport) -> str:
    head = f'<section id="best">{_title("Expected best of n trials")}'
    if r.best_of is None:
        return head + _refused("No curve.", r.why_no_best) + "</section>"
    one = r.best_of.per_trial.get("energy")
    each = f" A trial costs {figures.shown(one)} on average." if one and one.known else ""
    drawn = _svg.best_of(r) or _refused("No curve.", "there is one trial only")
    kind = "with" if r.best_of.replacement else "without"
    return (
        f'{head}{drawn}<p class="note">{e(r.best_of.basis)}, {kind} replacement; the ribbon is '
        f"one standard deviation of the best.{e(each)}</p></section>"
    )


def _runs(r: StudyReport) -> str:
    groups = (("By role", r.edh.by_role), ("By status", r.edh.by_status))
    body = ""
    for title, shares in groups:
        body += f'<tr><th scope="rowgroup" colspan="4"><small>{title}</small></th></tr>'
        for name, s in shares.items():
            bad = name in ("failed", "lost", "interrupted")
            color = 6 if bad else _svg.ROLE_COLORS.get(name, 0)
            body += (
                f'<tr><th scope="row" class="name">{e(name)}</th><td class="num">{s.runs:,}</td>'
                f'<td class="num">{"–" if math.isnan(s.share) else f"{s.share:.1%}"}</td>'
                f'<td class="graph">{_svg.line_bar(s.share, color)}</td></tr>'
            )
    if not r.counts.runs:
        none = _refused("No runs.", "the study is empty")
        return f'<section id="runs">{_title("Runs")}{none}</section>'
    return (
        f'<section id="runs">{_title("Runs")}<table><thead><tr><th scope="col"></th>'
        '<th scope="col" class="num">Runs</th><th scope="col" class="num">Energy</th>'
        f'<th scope="col" class="graph"></th></tr></thead><tbody>{body}</tbody></table></section>'
    )


def _folds(r: StudyReport) -> str:
    shown = [s for s in r.scores if len(s.by_fold) > 1]
    if not shown:
        return ""
    folds = list(dict.fromkeys(f for s in shown for f in s.by_fold))
    heads = "".join(
        f'<th scope="col" class="num">{e(ellipsize(s.name, 24))}</th>' for s in shown[:4]
    )
    rows = "".join(
        f'<tr><th scope="row" class="name">{e(ellipsize(fold, 60))}</th>'
        + "".join(
            f'<td class="num">{s.by_fold[fold]:.4g}</td>' if fold in s.by_fold else "<td></td>"
            for s in shown[:4]
        )
        + "</tr>"
        for fold in folds[:40]
    )
    spread = "".join(f'<td class="num">{e(s.text.partition(" (")[0])}</td>' for s in shown[:4])
    return (
        f'<section id="folds">{_title("Score by fold")}<div class="scroll"><table><thead><tr>'
        f'<th scope="col">Fold</th>{heads}</tr></thead><tbody>{rows}'
        f'<tr><th scope="row" class="name">mean ± sd</th>{spread}</tr></tbody></table></div>'
        "</section>"
    )


def _table(title: str, name: str, found: Sequence[Figure]) -> str:
    scopes = {f.scope for f in found} - {"factor"}
    note = f'<p class="note">Of {e(scopes.pop())}.</p>' if len(scopes) == 1 else ""
    rows = "".join(
        f'<tr><th scope="row" class="name">{e(f.label)}'
        + (f"<small>{e(f.scope)}</small>" if scopes else "")
        + f'</th><td class="value">{e(f.text)}</td><td class="how">'
        + (badge(f.how) if f.quantity.known else "")
        + f'</td><td class="rests">{e(f.basis)}</td></tr>'
        for f in found
    )
    if not rows:
        return ""
    return (
        f'<section id="{name}">{_title(title)}<div class="scroll"><table class="stack"><thead><tr>'
        '<th scope="col">What</th><th scope="col">Value</th><th scope="col">How</th>'
        f'<th scope="col">Rests on: factor, source, year</th></tr></thead><tbody>{rows}</tbody>'
        f"</table></div>{note}</section>"
    )


def _notes(r: StudyReport) -> str:
    items = "".join(f"<li>{e(n[:1].upper() + n[1:])}.</li>" for n in r.notes)
    return (
        f'<section id="notes">{_title("Assumed, or missing")}'
        f'<div class="box"><ul>{items}</ul></div></section>'
        if items
        else ""
    )
