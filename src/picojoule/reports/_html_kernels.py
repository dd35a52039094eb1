"""The parts of the page that tell what ran on devices."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from picojoule.reports import _kernels, _lanes, units
from picojoule.reports._markup import badge, e, number, pct
from picojoule.reports._svg import label
from picojoule.reports._text import cells, clean, ellipsize

if TYPE_CHECKING:
    from picojoule.results import Profile

#: Lines of the table; a browser and a reader cope with these.
_MOST_ROWS = 1000
#: Of the still picture: lanes, and bins of each.
_STILL_LANES, _STILL_BINS = 8, 240
#: Shades of the still picture.
_SHADES = 4
_LEFT, _ROW = 54, 16

_HEADS = (
    ("Kernel", "name"),
    ("Region", "text wide"),
    ("Calls", "num wide"),
    ("Time", "num mid"),
    ("Of busy", "num mid"),
    ("Energy", "num"),
    ("Power", "num wide"),
    ("FLOP/s", "num wide"),
    ("FLOP/J", "num wide"),
    ("How", "how"),
)


def section(profile: Profile, color: Mapping[str, int]) -> str:
    """The devices and the table of kernels; "" where nothing ran."""
    table = profile.kernels
    if not len(table):
        return ""
    found = _kernels.rows(table, top=_MOST_ROWS)
    busy = _kernels.busy_s(table)
    rows = "".join(_row(row, busy) for row in [*found, *_kernels.time_without(table)])
    heads = "".join(
        f'<th scope="col" class="{kind}" data-sort>{name}</th>' for name, kind in _HEADS
    )
    notes = [
        "A line is a kernel in the region that launched it, all launch shapes and streams "
        "together; the exports tell them apart."
    ]
    if found[-1].folded:
        notes.append(f"The {found[-1].folded:,} smallest are one line; the exports hold all.")
    if any(_kernels.flop_rate(row.kernel) == _kernels.UNTOLD for row in found):
        notes.append(f"{_kernels.UNTOLD}: FLOP not known.")
    if busy > 0 and table.time_s > 1.001 * busy:
        notes.append("Kernels ran at once, so that together they are more than 100 % of busy time.")
    notes += [
        f"{domain}: no meter covered it; joules and busy time are unknown."
        for domain in _kernels.unmetered(table)
    ]
    notes += [f"{words}." for words in _kernels.told_apart(table)]
    if not profile.flops and (words := _kernels.coverage(table)):
        notes.append(f"{words}.")
    notes += [f"Joules of kernels: {words}." for words in _kernels.basis(table)]
    return (
        '<section id="kernels"><div class="title"><h2>Kernels</h2>'
        '<div class="tools" data-search="kernel-table" hidden></div></div>'
        f"{_devices(profile, color)}"
        f'<div class="scroll"><table class="tree" id="kernel-table"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
        + "".join(f'<p class="note">{e(n)}</p>' for n in notes)
        + "</section>"
    )


def _row(row: _kernels.Row, busy: float) -> str:
    k = row.kernel
    value = units.energy(k.energy, doubt=False)
    doubt = units.energy(k.energy).removeprefix(value).strip()
    name = ellipsize(row.name, 120) if cells(row.name) > 120 else row.name
    # Cleaned one by one: the line breaks between them are ours.
    full = escape(row.full)
    rate = k.flops / k.time_s if k.time_s > 0 else float("nan")
    gain = k.flops / k.energy_j if k.energy_j > 0 else float("nan")
    numbers = (
        ("num wide", k.calls, units.count(k.calls) if k.kind != "idle" else "", ""),
        ("num mid", k.time_s, units.seconds(k.time_s), ""),
        ("num mid", k.time_s, _kernels.share_of_busy(k, busy) if k.kind != "idle" else "", ""),
        ("num", k.energy_j, value, f"<small>{e(doubt)}</small>" if doubt else ""),
        ("num wide", k.watts, units.power_of(k.energy, k.powered_s), ""),
        ("num wide", rate, _kernels.flop_rate(k).removesuffix("FLOP/s"), ""),
        ("num wide", gain, _kernels.flop_yield(k).removesuffix("FLOP/J"), ""),
    )
    return (
        f'<tr data-depth="0"><th scope="row" class="name" title="{full}">'
        f"<span>{e(name)}</span></th>"
        f'<td class="text wide" title="{e(row.region)}">{e(ellipsize(row.region, 80))}</td>'
        + "".join(
            f'<td class="{kind}" data-v="{number(v)}">{e(text)}{more}</td>'
            for kind, v, text, more in numbers
        )
        + f'<td class="how">{badge(_kernels.how(k))}</td></tr>'
    )


def _devices(profile: Profile, color: Mapping[str, int]) -> str:
    """A bar for each device: how much of the time something ran on it."""
    out = []
    for d in profile.kernels.devices:
        whole = d.busy_s + d.idle_s
        if not whole > 0:
            continue
        words = e(_kernels.device(d))
        out.append(
            f'<div class="device"><p>{words}</p>'
            f'<svg class="busy" role="img" aria-label="{words}" height="12" width="100%">'
            f'<rect class="rest" width="100%" height="12" rx="2"/>'
            f'<rect class="c{color.get(d.domain, 7)}" width="{pct(d.busy_s / whole)}" '
            'height="12" rx="2"/></svg></div>'
        )
    return "".join(out)


# ---- lanes under the plot of power ----


def notes_on_lanes(profile: Profile) -> list[str]:
    """What the lanes do not show, in sentences."""
    out = []
    if _kernels.runs_missing(profile):
        out.append("Kernels were not kept one by one: only their sums are known, in the table.")
    found = _lanes.lanes(profile)
    if found.binned:
        out.append(
            f"{found.binned:,} runs of kernels are more than there are pixels: their streams are "
            f"drawn in bins of {units.seconds(found.bin_ns * 1e-9)}, the fainter the less of it "
            "something ran, under the kernel that took most of the time."
        )
    if found.lanes_hidden:
        out.append(f"{found.lanes_hidden:,} more streams are not drawn.")
    return out


def data(profile: Profile) -> dict[str, Any]:
    """What the script draws lanes from; nothing where no kernels were kept one by one."""
    found = _lanes.lanes(profile)
    if not found.rectangles:
        return {}
    table = profile.kernels
    used = sorted({r.kernel for r in found.rectangles})
    place = {kernel: i for i, kernel in enumerate(used)}
    begin = profile.begin_ns
    return {
        "streams": [[clean(domain), stream] for domain, stream in found.lanes],
        "kernels": [[clean(table[i].short_name), _kernels.where(table[i])] for i in used],
        "runs": [
            [
                r.lane,
                round((r.begin_ns - begin) * 1e-9, 9),
                round((r.end_ns - begin) * 1e-9, 9),
                place[r.kernel],
                r.runs,
                round(r.share, 3),
            ]
            for r in found.rectangles
        ],
    }


def still(profile: Profile, width: int) -> str:
    """The lanes as an ``<svg>`` that needs no script: always as density."""
    table, runs = profile.kernels, profile.kernels.runs
    if not len(runs) or profile.duration_s <= 0:
        return ""
    lane_of = [(k.domain, k.stream) for k in table]
    used = sorted({lane_of[i] for i in np.unique(runs["kernel"]).tolist()})
    inner = width - _LEFT - 8
    out = []
    top = 4
    domain_before = ""
    for domain, stream in used[:_STILL_LANES]:
        if domain != domain_before:
            out.append(label(_LEFT, top + 11, f"{clean(domain)}: kernels by stream", "start"))
            top += 16
            domain_before = domain
        mine = runs[np.array([at == (domain, stream) for at in lane_of])[runs["kernel"]]]
        shares = _lanes.shares(mine, profile.begin_ns, profile.end_ns, _STILL_BINS)
        shade = np.ceil(shares * _SHADES).astype(int)
        paths = [""] * (_SHADES + 1)
        starts = np.flatnonzero(np.r_[True, shade[1:] != shade[:-1]])
        for at, end in zip(starts.tolist(), [*starts[1:].tolist(), len(shade)], strict=True):
            x, wide = _LEFT + inner * at / len(shade), inner * (end - at) / len(shade)
            paths[shade[at]] += f"M{x:.1f} {top}h{wide:.1f}v{_ROW - 4}h-{wide:.1f}z"
        out += [
            f'<path d="{path}" fill="#2f80c2" fill-opacity="{i / _SHADES:.2f}"/>'
            for i, path in enumerate(paths)
            if i and path
        ]
        out.append(label(_LEFT - 6, top + 10, str(stream), "end"))
        top += _ROW
    words = "Kernels over time, one lane a stream; the darker, the more of the time something ran"
    return (
        f'<svg role="img" aria-label="{words}" width="100%" viewBox="0 0 {width} {top + 4}" '
        f'font-family="system-ui, sans-serif" font-size="11"><title>{words}</title>'
        f"{''.join(out)}</svg>"
    )
