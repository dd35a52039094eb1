"""One offline page: headline, timeline, regions, and how every number was got.

Everything a reader needs is static HTML and stands without JavaScript; the script replaces the
static plot by one that zooms, and lets the region table sort and fold. The page loads nothing: its
policy allows exactly the one style sheet and the one script it carries, by their hashes, so that
no name out of a profile can ever run.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
import math
import os
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from picojoule.reports import (
    _facts,
    _flops,
    _html_kernels,
    _plot,
    _roofline,
    _state,
    _svg,
    _write,
    units,
)
from picojoule.reports._markup import badge as _badge
from picojoule.reports._markup import e as _e
from picojoule.reports._markup import number as _number
from picojoule.reports._markup import pct as _pct
from picojoule.reports._text import cells, clean, ellipsize

if TYPE_CHECKING:
    from picojoule.results import Profile, Region

#: Regions in the page; a browser and a reader cope with these.
_MOST_REGIONS = 2000
#: Regions in the fragment for a notebook.
_FRAGMENT_REGIONS = 30
_COLORS = 8


def write(
    profile: Profile, path: str | os.PathLike[str], peaks: _roofline.Peaks | None = None
) -> None:
    """Write the page to ``path``, whole or not at all; ``peaks`` as in ``render``."""
    _write.write(path, render(profile, peaks))


def render(profile: Profile, peaks: _roofline.Peaks | None = None) -> str:
    """The page.

    Args:
        profile: what a measurement found.
        peaks: what the device can do at most, for the ceilings of the roofline; None is what its
            data sheet says, if it is known.
    """
    if peaks is None:
        from picojoule.flops.peaks import peaks_of_profile

        peaks = peaks_of_profile(profile)
    style, script = _asset("report.css"), _asset("report.js")
    policy = "; ".join(
        (
            "default-src 'none'",
            f"style-src {_hash(style)}",
            f"script-src {_hash(script)}",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    title = _e(profile.name or "picojoule profile")
    sections = (
        _warnings(profile),
        _cards(profile),
        _timeline(profile),
        _regions(profile),
        _html_kernels.section(profile, _color_index(profile)),
        _work(profile),
        _roofline.section(profile, peaks),
        _domains(profile),
        _about(profile),
    )
    return (
        "<!doctype html>\n"
        '<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        '<meta name="referrer" content="no-referrer">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{title}: {_e(units.energy(profile.total))}</title>\n"
        f"<style>{style}</style>\n</head>\n<body>\n"
        f"{_HATCHES}\n{_header(profile, title)}\n<main>\n"
        + "\n".join(s for s in sections if s)
        + f"\n</main>\n{_footer(profile)}\n"
        f'<script type="application/json" id="data">{_data(profile)}</script>\n'
        f"<script>{script}</script>\n</body>\n</html>\n"
    )


def fragment(profile: Profile) -> str:
    """A static piece of HTML for a notebook: no script, no style sheet, no outside."""
    how = _facts.how_of(profile, profile.counted)
    head = f"<b>{_e(profile.name or 'picojoule profile')}</b>"
    facts = [f"<b>{_e(units.energy(profile.total))}</b>"]
    if not math.isnan(profile.total.joules):
        facts[0] += f" ({_e(how)}, 95 %)"
        if profile.total.resolved:
            facts.append(_e(units.power_of(profile.total, profile.duration_s)) + " mean")
    facts.append(_e(units.seconds(profile.duration_s)))
    shown = _facts.largest(profile.regions, _FRAGMENT_REGIONS)
    body = "".join(_fragment_row(r, profile) for r in shown)
    hidden = len(profile.regions) - len(shown)
    heads = "".join(
        f'<th style="text-align:{side};padding:2px 9px">{name}</th>'
        for name, side in (
            ("Region", "left"),
            ("Calls", "right"),
            ("Time", "right"),
            ("Energy", "right"),
            ("Power", "right"),
            ("How", "left"),
        )
    )
    table = f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>" if body else ""
    return (
        f'<div class="picojoule"><div>{head}: {" · ".join(facts)}</div>'
        + "".join(f"<div>⚠ {_e(w)}</div>" for w in profile.warnings)
        + _svg.draw(profile, width=760)
        + table
        + (f"<div><small>{hidden:,} smaller regions are not shown.</small></div>" if hidden else "")
        + "</div>"
    )


def _fragment_row(region: Region, profile: Profile) -> str:
    name = "&emsp;" * min(region.depth, 12) + _e(_marked(region))
    values = (
        units.count(region.calls),
        units.seconds(region.duration_s),
        units.energy(region.total),
        _facts.power(region),
    )
    how = _facts.how_of(region, profile.counted)
    return (
        f'<tr><td style="text-align:left;padding:2px 9px">{name}</td>'
        + "".join(f'<td style="text-align:right;padding:2px 9px">{_e(v)}</td>' for v in values)
        + f'<td style="text-align:left;padding:2px 9px">{_e(how)}</td></tr>'
    )


# ---- the sections, from top to bottom ----


def _header(profile: Profile, title: str) -> str:
    meta = profile.meta
    facts = [_when(meta.get("begin_wall_ns")), meta.get("host"), meta.get("command")]
    line = " <i>·</i> ".join(_e(f) for f in facts if f)
    return (
        '<header><div class="bar"><span class="mark">picojoule</span>'
        '<button id="theme" type="button" hidden>theme</button></div>'
        f"<h1>{title}</h1>" + (f'<p class="sub">{line}</p>' if line else "") + "</header>"
    )


def _warnings(profile: Profile) -> str:
    items = "".join(f"<li>{_e(w)}</li>" for w in profile.warnings)
    return f'<ul class="warnings" aria-label="Warnings">{items}</ul>' if items else ""


def _cards(profile: Profile) -> str:
    total = profile.total
    known = not math.isnan(total.joules)
    value = units.energy(total, doubt=False)
    doubt = units.energy(total).removeprefix(value).strip()
    notes = []
    if known:
        notes.append(f"{doubt} at 95 %" if doubt else "at 95 %")
        if not total.resolved:
            notes.append("below the meter’s resolution")
        if total.joules >= units.KWH_FROM_J:
            mark = "~" if total.provenance == "estimated" else ""
            notes.append(mark + units.kwh(total.joules))
        if absolute := _facts.scale(total):
            notes.append(f"{absolute} with the meter’s scale error")
    else:
        notes.append("no meter covered it")
    power_notes = ["mean over the whole profile"] if known else []
    peak = _peak(profile)
    if peak:
        power_notes.append(peak)
    badge = _badge(_facts.how_of(profile, profile.counted))
    cards = [
        ("Energy", value, notes, badge if known else "", "card main"),
        (
            "Mean power",
            units.power_of(total, profile.duration_s) if known else units.UNKNOWN,
            power_notes,
            "",
            "card",
        ),
        (
            "Duration",
            units.seconds(profile.duration_s),
            [
                f"{units.count(len(profile.readings))} meter readings",
                f"{units.count(sum(r.calls for r in profile.regions))} calls of "
                f"{units.count(len(profile.regions))} regions",
            ],
            "",
            "card",
        ),
    ]
    return (
        '<section class="cards" aria-label="Headline">'
        + "".join(
            f'<div class="{kind}"><h2>{name}{badge}</h2><p class="big">{_unit(value)}</p>'
            + "".join(f"<p>{_e(n)}</p>" for n in notes)
            + "</div>"
            for name, value, notes, badge, kind in cards
        )
        + "</section>"
    )


def _peak(profile: Profile) -> str:
    tops = [
        (float(np.nanmax(p.watts)), p)
        for p in profile.power
        if len(p.watts) and not np.isnan(p.watts).all()
    ]
    if not tops:
        return ""
    watts, series = max(tops, key=lambda t: t[0])
    mark = "~" if series.provenance == "estimated" else ""
    return f"highest reading {mark}{units.watts(watts)}, {clean(series.domain)}"


def _timeline(profile: Profile) -> str:
    has_power = any(len(p.watts) for p in profile.power)
    if not has_power and not len(profile.spans) and not len(profile.kernels.runs):
        return ""
    bands = _plot.bands(profile)
    notes = []
    if any(len(p.watts) > _plot.MOST_POINTS for p in profile.power):
        notes.append(
            f"Power is drawn in at most {_plot.MOST_POINTS:,} steps a domain: of each stretch of "
            "readings the lowest and the highest."
        )
    if bands.merged:
        notes.append(
            f"{bands.merged:,} short region calls are drawn together with their neighbours, "
            "under the name that took most of the time."
        )
    if bands.lanes_hidden:
        notes.append(f"{bands.lanes_hidden:,} more threads or depths are not drawn.")
    notes += _html_kernels.notes_on_lanes(profile)
    dropped = profile.overhead.get("spans_dropped", 0) + profile.overhead.get("spans_folded", 0)
    if dropped > 0:
        notes.append(
            f"{units.count(dropped)} region calls were counted but not kept for this plot."
        )
    return (
        '<section id="timeline"><div class="title"><h2>Power over time</h2>'
        '<div id="tools" class="tools" hidden></div></div>'
        '<div id="legend" class="legend"></div>'
        f'<div id="plot">{_svg.draw(profile, width=1040)}'
        f"{_html_kernels.still(profile, width=1040)}</div>"
        '<p id="readout" class="readout" aria-live="polite"></p>'
        + "".join(f'<p class="note">{_e(n)}</p>' for n in notes)
        + "</section>"
    )


_REGION_HEADS = (
    ("Region", "name", ""),
    ("Calls", "num wide", "n"),
    ("Time", "num mid", "n"),
    ("Self", "num wide", "n"),
    ("Energy", "num", "n"),
    ("Power", "num wide", "n"),
    ("Share", "num mid", "n"),
    ("of the total, with 95 % interval", "graph mid", ""),
    ("How", "how", ""),
)


def _regions(profile: Profile) -> str:
    if not len(profile.regions):
        return ""
    shown = _facts.largest(profile.regions, _MOST_REGIONS)
    hidden = len(profile.regions) - len(shown)
    highs = [units.bounds(r.total)[1] for r in shown]
    top = max([h for h in highs if math.isfinite(h)] + [_or_zero(profile.total.joules)])
    color = _color_index(profile)
    rows = "".join(_region_row(r, profile, top, color) for r in shown)
    heads = "".join(
        f'<th scope="col" class="{kind}"{" data-sort" if kind.split()[0] != "graph" else ""}>'
        f"{name}</th>"
        for name, kind, _ in _REGION_HEADS
    )
    notes = []
    if hidden:
        notes.append(
            f"{hidden:,} smaller regions are not in this page; the CSV and JSON exports hold all."
        )
    if any(r.concurrent for r in shown):
        notes.append(
            "* Several calls were open at once: their seconds add up, their joules overlap, and a "
            "mean power would mean nothing."
        )
    if any(r.open_at_end for r in shown):
        notes.append("^ Still open when the profile ended.")
    if any(not r.total.resolved and not math.isnan(r.total.joules) for r in shown):
        notes.append(
            "Without power and bar: shorter than the meter can see. The joules are a share by "
            "time of the readings the region lies in, or the most it can have used."
        )
    if any(r.depth for r in shown):
        notes.append("Times and joules of a region include those inside it; Self is without them.")
    return (
        '<section id="regions"><div class="title"><h2>Regions</h2></div><div class="scroll">'
        f'<table class="tree"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'
        + "".join(f'<p class="note">{_e(n)}</p>' for n in notes)
        + "</section>"
    )


def _region_row(region: Region, profile: Profile, top: float, color: dict[str, int]) -> str:
    total = region.total
    share = _facts.share(region, profile)
    how = _facts.how_of(region, profile.counted)
    value = units.energy(total, doubt=False)
    doubt = units.energy(total).removeprefix(value).strip()
    path = " / ".join(clean(p) for p in region.path)
    numbers = (
        ("num wide", region.calls, units.count(region.calls), ""),
        ("num mid", region.duration_s, units.seconds(region.duration_s), ""),
        ("num wide", region.self_s, units.seconds(region.self_s), ""),
        ("num", total.joules, value, f"<small>{_e(doubt)}</small>" if doubt else ""),
        ("num wide", region.watts, _facts.power(region), ""),
        ("num mid", share, "-" if math.isnan(share) else units.percent(share), ""),
    )
    return (
        f'<tr data-depth="{region.depth}"><th scope="row" class="name d{min(region.depth, 12)}" '
        f'title="{_e(path)}"><span>{_e(_marked(region))}</span></th>'
        + "".join(
            f'<td class="{kind}" data-v="{_number(v)}">{_e(text)}{more}</td>'
            for kind, v, text, more in numbers
        )
        + f'<td class="graph mid">{_bar(region, profile, top, color)}</td>'
        f'<td class="how">{_badge(how)}</td></tr>'
    )


def _bar(region: Region, profile: Profile, top: float, color: dict[str, int]) -> str:
    """Joules by domain as a bar, the interval of their sum as a whisker on it."""
    low, high = units.bounds(region.total)
    if not top > 0 or not math.isfinite(high):
        return ""
    words = f"{units.energy(region.total)}, 95 % interval {units.interval(low, high)}"
    parts = []
    at = 0.0
    if region.total.resolved:
        for domain in profile.counted:
            part = region.energy.get(domain)
            if part is None or not part.joules > 0:
                continue
            place = f'x="{_pct(at / top)}" width="{_pct(part.joules / top)}" y="3" height="9"'
            parts.append(f'<rect class="c{color[domain]}" {place}/>')
            if part.provenance == "estimated":
                parts.append(f'<rect fill="url(#pj-estimated)" {place}/>')
            at += part.joules
    kind = "" if region.total.resolved else ' class="faint"'
    x1, x2 = _pct(low / top), _pct(high / top)
    parts.append(
        f'<g{kind}><line x1="{x1}" x2="{x2}" y1="7.5" y2="7.5"/>'
        f'<line x1="{x1}" x2="{x1}" y1="4.5" y2="10.5"/>'
        f'<line x1="{x2}" x2="{x2}" y1="4.5" y2="10.5"/></g>'
    )
    return (
        f'<svg class="iv" role="img" aria-label="{_e(words)}" height="15">'
        f"<title>{_e(words)}</title>{''.join(parts)}</svg>"
    )


def _work(profile: Profile) -> str:
    return _sentences("work", "FLOPs and bytes", _flops.lines(profile)) + _sentences(
        "state", "Clocks and utilisation", _state.lines(profile)
    )


def _sentences(name: str, title: str, lines: Sequence[str]) -> str:
    if not lines:
        return ""
    return (
        f'<section id="{name}"><div class="title"><h2>{title}</h2></div>'
        + "".join(f'<p class="note">{_e(words[:1].upper() + words[1:])}.</p>' for words in lines)
        + "</section>"
    )


def _domains(profile: Profile) -> str:
    found = _facts.domains(profile)
    if not found:
        return ""
    color = _color_index(profile)
    rows = []
    for domain, counted, inside in found:
        e = profile.energy[domain]
        device, note = _facts.device_of(profile, domain)
        value = units.energy(e, doubt=False)
        doubt = units.energy(e).removeprefix(value).strip()
        absolute = _facts.scale(e)
        basis = "; ".join(filter(None, (note, e.basis)))
        remark = "" if counted else "<small>not added to the total</small>"
        rows.append(
            f'<tr><th scope="row" class="name d{int(inside)}"><span>'
            f'<svg class="dot" width="10" height="10" aria-hidden="true">'
            f'<rect class="c{color[domain]}" width="10" height="10" rx="2"/></svg> '
            f"{_e(domain)}</span>{remark}</th>"
            f'<td class="num">{_e(value)}<small>{_e(doubt)}</small></td>'
            f'<td class="num wide">{_e(absolute) or "&ndash;"}</td>'
            f'<td class="num mid">{_e(units.power_of(e, profile.duration_s))}</td>'
            f'<td class="how">{_badge(_facts.how(e))}</td>'
            f'<td class="text wide">{_e(device)}<small>{_e(basis)}</small></td></tr>'
        )
    return (
        '<section id="domains"><div class="title"><h2>Domains</h2></div><div class="scroll"><table>'
        '<thead><tr><th scope="col" class="name">Domain</th><th scope="col" class="num">Energy</th>'
        '<th scope="col" class="num wide">Absolute</th><th scope="col" class="num mid">Power</th>'
        '<th scope="col" class="how">How</th>'
        '<th scope="col" class="text wide">What it rests on</th>'
        f"</tr></thead><tbody>{''.join(rows)}</tbody></table></div></section>"
    )


def _about(profile: Profile) -> str:
    boxes = [
        ("How these numbers were got", _provenance(profile)),
        ("What measuring cost", _list(_e(p) for p in _facts.overhead(profile))),
        ("Gaps", _list(_e(g) for g in _facts.gaps(profile))),
        ("Not measured", _unmeasured(profile)),
        ("Where and with what", _environment(profile)),
    ]
    inner = "".join(
        f'<section class="box"><h2>{name}</h2>{body}</section>' for name, body in boxes if body
    )
    return f'<div class="boxes">{inner}</div>' if inner else ""


def _provenance(profile: Profile) -> str:
    used = {e.provenance for e in profile.energy.values() if not math.isnan(e.joules)}
    used |= {e.provenance for r in profile.regions for e in r.energy.values()}
    used |= {k.energy.provenance for k in profile.kernels if not math.isnan(k.energy_j)}
    terms = "".join(
        f"<dt>{_badge(name)}</dt><dd>{_e(text)}</dd>"
        for name, text in _facts.MEANING.items()
        if name in used
    )
    meters = []
    seen = set()
    for c in profile.channels:
        if not c.tells_energy:
            continue
        key = (c.meter, c.field, c.domain)
        if key in seen:
            continue
        seen.add(key)
        facts = [f"{c.meter} {c.field} ({c.quantity}) of {c.domain}"]
        if c.update_period_ns > 0:
            facts.append(f"every {units.seconds(c.update_period_ns * 1e-9)}")
        if c.window_ns > 0:
            facts.append(f"averaged over {units.seconds(c.window_ns * 1e-9)}")
        if c.gain_std > 0:
            facts.append(f"absolute scale good to {units.percent(c.gain_std)} (one sigma)")
        if c.note:
            facts.append(c.note)
        meters.append(_e(", ".join(facts)))
    told: dict[tuple[str, str], list[str]] = {}
    for counter in profile.counters.values():
        told.setdefault((counter.meter, counter.domain), []).append(counter.field)
    for (meter, domain), fields in told.items():
        meters.append(_e(f"{meter} of {domain}, no energy: {', '.join(fields)}"))
    ends = (
        "<p>A ± or [low, high] is a 95 % interval. Between regions of one meter its absolute scale "
        "cancels, so measured joules leave it out; “absolute” puts it in.</p>"
        if used
        else ""
    )
    return (f"<dl>{terms}</dl>" if terms else "") + _list(meters) + ends


def _unmeasured(profile: Profile) -> str:
    items = []
    for what, why, remedy in _facts.refused(profile):
        item = f"<b>{_e(what)}</b>: {_e(why)}"
        if remedy:
            item += f"<br>To mend it: <code>{_e(remedy)}</code>"
        items.append(item)
    missing = _facts.absent(profile)
    if missing:
        items.append(f"Not on this machine: {_e(', '.join(missing))}")
    return _list(items)


def _environment(profile: Profile) -> str:
    rows = []
    for key, value in profile.meta.items():
        if key == "findings":
            continue
        if key == "begin_wall_ns":
            key, value = "began", _when(value)
        if isinstance(value, (dict, list, tuple)):
            value = json.dumps(_facts.plain(value), ensure_ascii=False)
        rows.append(f"<dt>{_e(key)}</dt><dd>{_e(value)}</dd>")
    return f'<dl class="meta">{"".join(rows)}</dl>' if rows else ""


def _footer(profile: Profile) -> str:
    version = profile.meta.get("picojoule")
    return (
        "<noscript><p>Without JavaScript the plot does not zoom and the tables do not sort; "
        "nothing else is missing.</p></noscript>"
        f"<footer>picojoule{' ' + _e(version) if version else ''}. "
        "This page is one file and loads nothing.</footer>"
    )


# ---- what the script draws from ----


def _data(profile: Profile) -> str:
    bands = _plot.bands(profile)
    color = _color_index(profile)
    begin = profile.begin_ns
    used = sorted({r[3] for r in bands.rectangles})
    place = {path: i for i, path in enumerate(used)}
    series = []
    for p in profile.power:
        if not len(p.watts):
            continue
        edges, watts = _plot.decimate(p.edges_ns, p.watts)
        series.append(
            {
                "domain": clean(p.domain),
                "provenance": p.provenance,
                "counted": p.domain in profile.counted,
                "color": color.get(p.domain, _COLORS - 1),
                "t": [_s(e - begin) for e in edges.tolist()],
                "w": [None if math.isnan(w) else float(f"{w:.5g}") for w in watts.tolist()],
            }
        )
    gaps = profile.gaps[:500]
    data = {
        "duration": profile.duration_s,
        "series": series,
        "lanes": bands.lanes,
        "paths": [[clean(n) for n in (profile.paths[p] or (profile.name,))] for p in used],
        "spans": [
            [lane, _s(b - begin), _s(e - begin), place[path], calls]
            for lane, b, e, path, calls in bands.rectangles
        ],
        "gaps": [
            [clean(g.domain), _s(g.begin_ns - begin), _s(g.end_ns - begin), clean(g.reason)]
            for g in gaps
        ],
        **_html_kernels.data(profile),
    }
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    # Inside <script> only "<" can end the element or open a comment.
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


# ---- small things ----

_HATCHES = (
    '<svg class="defs" aria-hidden="true" width="0" height="0"><defs>'
    '<pattern id="pj-estimated" width="4" height="4" patternUnits="userSpaceOnUse" '
    'patternTransform="rotate(45)"><rect class="paper" width="2" height="4"/></pattern>'
    '<pattern id="pj-gap" width="6" height="6" patternUnits="userSpaceOnUse" '
    'patternTransform="rotate(45)"><rect class="ink" width="1" height="6"/></pattern>'
    "</defs></svg>"
)


def _list(items: Iterable[str]) -> str:
    body = "".join(f"<li>{i}</li>" for i in items)
    return f"<ul>{body}</ul>" if body else ""


def _marked(region: Region) -> str:
    marks = "*" * region.concurrent + "^" * bool(region.open_at_end)
    name = clean(region.name)
    name = ellipsize(name, 120) if cells(name) > 120 else name
    return f"{name} {marks}" if marks else name


def _unit(text: str) -> str:
    """A quantity with its unit set smaller, with each of them in ``4 min 05 s``."""
    number, gap, unit = text.rpartition(" ")
    if not gap or not any(c.isdigit() for c in number) or any(c.isdigit() for c in unit):
        return _e(text)
    words = (
        _e(word) if any(c.isdigit() for c in word) else f"<span>{_e(word)}</span>"
        for word in text.split(" ")
    )
    return " ".join(words)


def _color_index(profile: Profile) -> dict[str, int]:
    names = [d for d, _, _ in _facts.domains(profile)]
    names += [p.domain for p in profile.power if p.domain not in names]
    order: Sequence[str] = list(dict.fromkeys([*profile.counted, *names]))
    return {domain: i % _COLORS for i, domain in enumerate(order)}


def _when(wall_ns: Any) -> str:
    try:
        at = datetime.datetime.fromtimestamp(int(wall_ns) / 1e9, tz=datetime.UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return ""
    return at.strftime("%Y-%m-%d %H:%M UTC")


def _s(ns: int) -> float:
    return round(ns * 1e-9, 9)


def _or_zero(value: float) -> float:
    return value if math.isfinite(value) else 0.0


def _asset(name: str) -> str:
    return (files("picojoule.reports") / "assets" / name).read_text(encoding="utf-8").strip()


def _hash(content: str) -> str:
    digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
    return f"'sha256-{digest}'"
