"""The table for a terminal. Plain text is complete; colour only helps the eye."""

from __future__ import annotations

import math
import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from picojoule.reports import _facts, units
from picojoule.reports._text import cells, clean, ellipsize

if TYPE_CHECKING:
    from picojoule.results import Profile, Region

#: Without a terminal to ask.
_DEFAULT_WIDTH = 100
_LEAST_WIDTH = 24
#: A person reads no more; exports hold them all.
_MOST_REGIONS = 100
#: Trees deeper than this are indented by one.
_DEEP = 6
#: Energy split by domain, beside the sum, for so many domains at most.
_MOST_DOMAIN_COLUMNS = 4

_STYLES = {
    "bold": "1",
    "dim": "2",
    "measured": "32",
    "counted": "32",
    "modelled": "36",
    "estimated": "33",
    "warning": "33",
}


@dataclass(frozen=True, slots=True)
class _Column:
    title: str
    right: bool = True
    shrinks_to: int = 0  # 0: never shortened
    comfortable: int = 0  # not shortened further while anything else can give way


@dataclass(frozen=True, slots=True)
class _Cell:
    text: str
    style: str = ""
    short: str = ""  # what to say where there is no room


def render(
    profile: Profile,
    *,
    width: int | None = None,
    color: bool | None = None,
    unicode: bool | None = None,
    limit: int | None = _MOST_REGIONS,
) -> str:
    """The profile as a table.

    Args:
        profile: what a measurement found.
        width: columns to fill at most; None asks the terminal.
        color: None asks NO_COLOR, FORCE_COLOR, TERM and whether stdout is a terminal.
        unicode: whether more than ASCII can be shown; None asks stdout's encoding.
        limit: regions to show at most, the largest; None for all.
    """
    if width is None:
        width = _terminal_width()
    screen = _Screen(
        width=max(width, _LEAST_WIDTH),
        color=_wants_color() if color is None else color,
        unicode=_speaks_unicode() if unicode is None else unicode,
    )
    blocks = [
        _headline(profile, screen),
        _warnings(profile, screen),
        _domains(profile, screen),
        _regions(profile, screen, limit),
        _remarks(profile, screen),
    ]
    return "\n\n".join("\n".join(b) for b in blocks if b) + "\n"


# ---- the blocks, from top to bottom ----


def _headline(profile: Profile, screen: _Screen) -> list[str]:
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


def _warnings(profile: Profile, screen: _Screen) -> list[str]:
    out: list[str] = []
    for warning in profile.warnings:
        lines = screen.prose(f"warning: {clean(warning)}", hang="  ")
        out += [screen(line, "warning") for line in lines]
    return out


def _domains(profile: Profile, screen: _Screen) -> list[str]:
    found = _facts.domains(profile)
    if not found:
        return []
    columns = (
        _Column("Domain", right=False, shrinks_to=8, comfortable=20),
        _Column("Energy"),
        _Column("Power"),
        _Column("How", right=False),
        _Column("Device", right=False, shrinks_to=16, comfortable=16),
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
                _Cell("  " * inside + clean(domain) + ("" if counted else " †")),
                _Cell(units.energy(estimate), short=units.energy(estimate, doubt=False)),
                _Cell(units.power_of(estimate, profile.duration_s)),
                _Cell(how, how),
                _Cell("; ".join(filter(None, (device, note))), "dim"),
            )
        )
    lines = _table(columns, rows, yields, screen)
    if not all(counted for _, counted, _ in found):
        note = "† not added to the total: part of another domain, or a second opinion on it"
        lines += [screen(line, "dim") for line in screen.prose(note, hang="  ")]
    return lines


def _regions(profile: Profile, screen: _Screen, limit: int | None) -> list[str]:
    if not len(profile.regions):
        return []
    shown = _facts.largest(profile.regions, limit)
    several = (
        [d for d in profile.counted if d in profile.energy] if len(profile.counted) > 1 else []
    )
    if len(several) > _MOST_DOMAIN_COLUMNS:
        several = []
    columns = (
        _Column("Region", right=False, shrinks_to=8, comfortable=24),
        _Column("Calls"),
        _Column("Time"),
        _Column("Self"),
        _Column("Energy"),
        *(_Column(clean(d)) for d in several),
        _Column("Power"),
        _Column("Share"),
        _Column("How", right=False),
    )
    split = tuple(f"-{clean(d)}" for d in reversed(several))
    yields = (*split, "-Self", "-Calls", "How", "-Power", "-Time", "Energy", "-Share")
    deepest = max(r.depth for r in shown)
    indent = "  " if deepest <= _DEEP else " "
    rows = [_row(r, profile, several, indent) for r in shown]
    lines = _table(columns, rows, yields, screen)
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


def _row(
    region: Region, profile: Profile, several: Sequence[str], indent: str
) -> tuple[_Cell, ...]:
    marks = "*" * region.concurrent + "^" * bool(region.open_at_end)
    share = _facts.share(region, profile)
    how = _facts.how_of(region, profile.counted)
    return (
        _Cell(indent * region.depth + clean(region.name) + (f" {marks}" if marks else "")),
        _Cell(units.count(region.calls)),
        _Cell(units.seconds(region.duration_s)),
        _Cell(units.seconds(region.self_s), "dim"),
        _Cell(units.energy(region.total), short=units.energy(region.total, doubt=False)),
        *(
            _Cell(units.energy(region.energy[d], doubt=False) if d in region.energy else "-", "dim")
            for d in several
        ),
        _Cell(_facts.power(region)),
        _Cell("-" if math.isnan(share) else units.percent(share)),
        _Cell(how, how.removeprefix("part "), short=how.removeprefix("part ")),
    )


def _remarks(profile: Profile, screen: _Screen) -> list[str]:
    out: list[str] = []

    def say(text: str, style: str = "dim") -> None:
        out.extend(screen(line, style) for line in screen.prose(text, hang="  "))

    for gap in _facts.gaps(profile):
        say(f"gap: {gap}")
    if cost := _facts.overhead(profile):
        say(f"overhead: {', '.join(cost)}")
    for what, why, remedy in _facts.refused(profile):
        say(f"not measured: {what}{': ' + why if why else ''}", "")
        if remedy:
            say(f"  to mend it: {remedy}", "")
    if missing := _facts.absent(profile):
        say(f"not on this machine: {', '.join(missing)}")
    return out


# ---- layout ----


def _table(
    columns: Sequence[_Column],
    rows: Sequence[Sequence[_Cell]],
    yields: Sequence[str],
    screen: _Screen,
) -> list[str]:
    """Lines no wider than the screen.

    Args:
        columns: what is wished for.
        rows: a cell for each column.
        yields: what gives way where there is no room, in order: ``-Title`` drops a column,
            ``Title`` writes its cells in short. Then names are shortened.
        screen: what it is for.
    """
    show = screen.show
    texts = [[show(cell.text) for cell in row] for row in rows]
    kept = [i for i in range(len(columns)) if any(row[i] for row in texts)]
    titles = {column.title: i for i, column in enumerate(columns)}

    def natural(i: int) -> int:
        return max(cells(show(columns[i].title)), *(cells(row[i]) for row in texts))

    sizes = {i: natural(i) for i in kept}

    def least() -> int:
        tight = (min(sizes[i], columns[i].comfortable or sizes[i]) for i in kept)
        return sum(tight) + 2 * (len(kept) - 1)

    for step in yields:
        if least() <= screen.width:
            break
        i = titles[step.lstrip("-")]
        if step.startswith("-"):
            kept = [k for k in kept if k != i]
        elif i in kept:
            for at, row in enumerate(rows):
                texts[at][i] = show(row[i].short or row[i].text)
            sizes[i] = natural(i)
    over = sum(sizes[i] for i in kept) + 2 * (len(kept) - 1) - screen.width
    for i in reversed(kept):
        if over > 0 and columns[i].shrinks_to:
            give = min(over, max(0, sizes[i] - columns[i].shrinks_to))
            sizes[i] -= give
            over -= give
    if over > 0:  # not even so: plain words, cut where the screen ends
        return [
            screen.fit("  ".join(f"{row[i]:<{sizes[i]}}" for i in kept).rstrip())
            for row in ([show(c.title) for c in columns], *texts)
        ]

    def line(values: Iterable[tuple[int, str, str]]) -> str:
        parts = []
        for i, text, style in values:
            short = screen.fit(text, sizes[i])
            pad = " " * (sizes[i] - cells(short))
            painted = screen(short, style)
            parts.append(pad + painted if columns[i].right else painted + pad)
        return "  ".join(parts).rstrip()

    lines = [line((i, show(columns[i].title), "bold") for i in kept)]
    lines += [line((i, texts[at][i], row[i].style) for i in kept) for at, row in enumerate(rows)]
    return lines


@dataclass(frozen=True, slots=True)
class _Screen:
    """Where the table will be seen, and what that can show."""

    width: int
    color: bool
    unicode: bool

    def __call__(self, text: str, style: str) -> str:
        """``text``, which fits already, in a style: hand-written ANSI, or nothing."""
        code = _STYLES.get(style)
        return f"\x1b[{code}m{text}\x1b[0m" if self.color and code and text else text

    def show(self, text: str) -> str:
        """``text`` in characters that the screen has."""
        return text if self.unicode else units.ascii_only(text)

    def fit(self, text: str, width: int | None = None) -> str:
        """``text`` shown in one line of at most ``width``, shortened in the middle."""
        mark = "…" if self.unicode else "~"
        return ellipsize(self.show(text), self.width if width is None else width, mark)

    def prose(self, text: str, *, indent: str = "", hang: str | None = None) -> list[str]:
        """``text`` wrapped at words; lines after the first begin with ``hang``."""
        room = self.width
        shown = self.show(text)
        # textwrap counts characters; where some are wide, leave room for them.
        wide = cells(shown) - len(shown)
        lines = textwrap.wrap(
            shown,
            room if wide <= 0 else max(_LEAST_WIDTH, room * len(shown) // cells(shown)),
            initial_indent=indent,
            subsequent_indent=indent if hang is None else hang,
            break_on_hyphens=False,
        )
        return [self.fit(line) for line in lines]


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
