"""The table for a terminal. Plain text is complete; colour only helps the eye."""

from __future__ import annotations

import math
import os
import shutil
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from picojoule.reports import _facts, _flops, _kernels, _state, _table_kernels, units
from picojoule.reports._layout import LEAST_WIDTH, Cell, Column, Screen, lay_out
from picojoule.reports._text import cells, clean

if TYPE_CHECKING:
    from picojoule.results import Profile, Region

#: Without a terminal to ask.
_DEFAULT_WIDTH = 100
#: A person reads no more; exports hold them all.
_MOST_REGIONS = 100
#: Trees deeper than this are indented by one.
_DEEP = 6
#: Energy split by domain, beside the sum, for so many domains at most.
_MOST_DOMAIN_COLUMNS = 4


def render(
    profile: Profile,
    *,
    width: int | None = None,
    color: bool | None = None,
    unicode: bool | None = None,
    limit: int | None = _MOST_REGIONS,
    by: str | None = None,
    sort: str = "energy",
    top: int | None = _kernels.MOST_ROWS,
) -> str:
    """The profile as a table.

    Args:
        profile: what a measurement found.
        width: columns to fill at most; None asks the terminal.
        color: None asks NO_COLOR, FORCE_COLOR, TERM and whether stdout is a terminal.
        unicode: whether more than ASCII can be shown; None asks stdout's encoding.
        limit: regions to show at most, the largest; None for all.
        by: what kernels are listed by: "kernel", "region" or "op" (the innermost region's name);
            None is each kernel in each region.
        sort: what kernels are sorted by: "energy", "time" or "flops".
        top: kernels to show at most, the rest as one sum; None for all.

    Raises:
        UsageError: ``by``, ``sort`` or ``top`` mean nothing.
    """
    if width is None:
        width = _terminal_width()
    screen = Screen(
        width=max(width, LEAST_WIDTH),
        color=_wants_color() if color is None else color,
        unicode=_speaks_unicode() if unicode is None else unicode,
    )
    blocks = [
        _headline(profile, screen),
        _warnings(profile, screen),
        _domains(profile, screen),
        _regions(profile, screen, limit),
        _table_kernels.block(profile, screen, by, sort, top),
        _work(profile, screen),
        _remarks(profile, screen),
    ]
    return "\n\n".join("\n".join(b) for b in blocks if b) + "\n"


# ---- the blocks, from top to bottom ----


def _headline(profile: Profile, screen: Screen) -> list[str]:
    total = profile.total
    joules = units.energy(total)
    how = _facts.how_of(profile, profile.counted)
    known = not math.isnan(total.joules)
    asides = []
    headline = f"energy    {joules}"
    if known:
        headline += " (95 %)"
        if cells(f"{headline}, {how}") <= screen.width:
            headline += f", {how}"
        else:
            asides.append(how)
    lines = [
        screen(screen.fit(clean(profile.name) or "picojoule profile"), "bold"),
        screen(screen.fit(headline), "bold"),
    ]
    if known and total.joules >= units.KWH_FROM_J:
        mark = "~" if total.provenance == "estimated" else ""
        asides.append(mark + units.kwh(total.joules))
    if absolute := _facts.scale(total):
        asides.append(f"{absolute} with the meter's scale error")
    if known and not total.resolved:
        asides.append("below the meter's resolution")
    lines += screen.prose("; ".join(asides), indent="          ")
    lines.append(f"duration  {units.seconds(profile.duration_s)}")
    if known and total.resolved:
        lines.append(f"power     {units.power_of(total, profile.duration_s)} mean")
    return lines


def _warnings(profile: Profile, screen: Screen) -> list[str]:
    out: list[str] = []
    for warning in profile.warnings:
        lines = screen.prose(f"warning: {clean(warning)}", hang="  ")
        out += [screen(line, "warning") for line in lines]
    return out


def _work(profile: Profile, screen: Screen) -> list[str]:
    said = [*_flops.lines(profile), *_state.lines(profile)]
    return [line for words in said for line in screen.prose(words, hang="  ")]


def _domains(profile: Profile, screen: Screen) -> list[str]:
    found = _facts.domains(profile)
    if not found:
        return []
    columns = (
        Column("Domain", right=False, shrinks_to=8, comfortable=20),
        Column("Energy"),
        Column("Power"),
        Column("How", right=False),
        Column("Device", right=False, shrinks_to=16, comfortable=16),
    )
    # What gives way, first to last: a column goes, or says it in short.
    yields = ("-Device", "-Power", "Energy")
    rows = []
    for domain, counted, inside in found:
        estimate = profile.energy[domain]
        device, note = _facts.device_of(profile, domain)
        how = _facts.how(estimate)
        rows.append(
            (
                Cell("  " * inside + clean(domain) + ("" if counted else " †")),
                Cell(units.energy(estimate), short=units.energy(estimate, doubt=False)),
                Cell(units.power_of(estimate, profile.duration_s)),
                Cell(how, how),
                Cell("; ".join(filter(None, (device, note))), "dim"),
            )
        )
    lines = lay_out(columns, rows, yields, screen)
    if not all(counted for _, counted, _ in found):
        note = "† not added to the total: part of another domain, or a second opinion on it"
        lines += [screen(line, "dim") for line in screen.prose(note, hang="  ")]
    return lines


def _regions(profile: Profile, screen: Screen, limit: int | None) -> list[str]:
    if not len(profile.regions):
        return []
    shown = _facts.largest(profile.regions, limit)
    several = (
        [d for d in profile.counted if d in profile.energy] if len(profile.counted) > 1 else []
    )
    if len(several) > _MOST_DOMAIN_COLUMNS:
        several = []
    columns = (
        Column("Region", right=False, shrinks_to=8, comfortable=24),
        Column("Calls"),
        Column("Time"),
        Column("Self"),
        Column("Energy"),
        *(Column(clean(d)) for d in several),
        Column("Power"),
        Column("Share"),
        Column("How", right=False),
    )
    split = tuple(f"-{clean(d)}" for d in reversed(several))
    yields = (*split, "-Self", "-Calls", "How", "-Power", "-Time", "Energy", "-Share")
    deepest = max(r.depth for r in shown)
    indent = "  " if deepest <= _DEEP else " "
    rows = [_row(r, profile, several, indent) for r in shown]
    lines = lay_out(columns, rows, yields, screen)
    hidden = len(profile.regions) - len(shown)
    notes = []
    if hidden:
        notes.append(f"{hidden:,} smaller regions are not shown; the exports hold all")
    if any(r.concurrent for r in shown):
        notes.append(
            "* several calls were open at once: their seconds add up, their joules overlap"
        )
    if any(r.open_at_end for r in shown):
        notes.append("^ still open when the profile ended")
    if any(not r.total.resolved and not math.isnan(r.total.joules) for r in shown):
        notes.append("without a power: below the meter's resolution, shared out by time")
    for note in notes:
        lines += [screen(line, "dim") for line in screen.prose(note, hang="  ")]
    return lines


def _row(region: Region, profile: Profile, several: Sequence[str], indent: str) -> tuple[Cell, ...]:
    marks = "*" * region.concurrent + "^" * bool(region.open_at_end)
    share = _facts.share(region, profile)
    how = _facts.how_of(region, profile.counted)
    return (
        Cell(indent * region.depth + clean(region.name) + (f" {marks}" if marks else "")),
        Cell(units.count(region.calls)),
        Cell(units.seconds(region.duration_s)),
        Cell(units.seconds(region.self_s), "dim"),
        Cell(units.energy(region.total), short=units.energy(region.total, doubt=False)),
        *(
            Cell(units.energy(region.energy[d], doubt=False) if d in region.energy else "-", "dim")
            for d in several
        ),
        Cell(_facts.power(region)),
        Cell("-" if math.isnan(share) else units.percent(share)),
        Cell(how, how.removeprefix("part "), short=how.removeprefix("part ")),
    )


def _remarks(profile: Profile, screen: Screen) -> list[str]:
    out: list[str] = []

    def say(text: str, style: str = "dim") -> None:
        out.extend(screen(line, style) for line in screen.prose(text, hang="  "))

    for gap in _facts.gaps(profile):
        say(f"gap: {gap}")
    if cost := _facts.overhead(profile):
        say(f"overhead: {', '.join(cost)}")
    if words := profile.meta.get("tracing"):
        say(f"kernels: {clean(str(words))}")
    for what, why, remedy in _facts.refused(profile):
        say(f"not measured: {what}{': ' + why if why else ''}", "")
        if remedy:
            say(f"  to mend it: {remedy}", "")
    if missing := _facts.absent(profile):
        say(f"not on this machine: {', '.join(missing)}")
    return out


# ---- what the terminal can do ----


def _wants_color() -> bool:
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR", "0") not in ("", "0"):
        return True
    return _is_terminal() and os.environ.get("TERM") != "dumb"


def _is_terminal() -> bool:
    try:
        return sys.stdout is not None and sys.stdout.isatty()
    except ValueError:  # closed
        return False


def _speaks_unicode() -> bool:
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        "±≤µ…†".encode(encoding)
    except (UnicodeError, LookupError):
        return False
    return True


def _terminal_width() -> int:
    if not _is_terminal() and not os.environ.get("COLUMNS", "").isdecimal():
        return _DEFAULT_WIDTH
    return shutil.get_terminal_size((_DEFAULT_WIDTH, 24)).columns
