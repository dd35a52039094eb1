"""The part of the table that lists kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from picojoule.reports import _kernels, units
from picojoule.reports._layout import Cell, Column, Screen, lay_out

if TYPE_CHECKING:
    from picojoule.results import Profile

_TITLES = {None: "Kernel", "kernel": "Kernel", "region": "Kernels of region", "op": "Kernels of op"}


def block(
    profile: Profile, screen: Screen, by: str | None, sort: str, top: int | None
) -> list[str]:
    """Lines for what ran on devices; none where nothing did."""
    table = profile.kernels
    if not len(table):
        return []
    found = _kernels.rows(table, by, sort, top)
    busy = _kernels.busy_s(table)
    columns = (
        Column(_TITLES[by], right=False, shrinks_to=8, comfortable=24),
        Column("Region", right=False, shrinks_to=6, comfortable=16),
        Column("Calls"),
        Column("Time"),
        Column("Of busy"),
        Column("Energy"),
        Column("Power"),
        Column("FLOP/s"),
        Column("FLOP/J"),
        Column("How", right=False),
    )
    yields = (
        "-FLOP/J", "-Calls", "How", "-FLOP/s", "-Power", "-Time", "Energy", "-Region", "-Of busy",
    )  # fmt: skip
    rates = _kernels.known_rates(found)
    shown = [*found, *_kernels.time_without(table)]
    lines = lay_out(columns, [_cells(row, busy, rates) for row in shown], yields, screen)

    def say(text: str) -> None:
        lines.extend(screen(line, "dim") for line in screen.prose(text, hang="  "))

    if rates and any(_kernels.flop_rate(row.kernel) == _kernels.UNTOLD for row in found):
        say(f"{_kernels.UNTOLD}: FLOP not known")
    if busy > 0 and table.time_s > 1.001 * busy:
        say("of busy: kernels ran at once, so that together they are more than 100 %")
    for device in table.devices:
        say(_kernels.device(device))
    for words in _kernels.told_apart(table):
        say(words)
    for domain in _kernels.unmetered(table):
        say(f"{domain}: no meter covered it; joules and busy time are unknown")
    if not profile.flops and (words := _kernels.coverage(table)):
        say(words)
    for words in _kernels.basis(table):
        say(f"joules of kernels: {words}")
    return lines


def _cells(row: _kernels.Row, busy: float, rates: bool) -> tuple[Cell, ...]:
    kernel = row.kernel
    how = _kernels.how(kernel)
    return (
        Cell(row.name, "dim" if row.folded or kernel.kind == "idle" else ""),
        Cell(row.region, "dim"),
        Cell(units.count(kernel.calls) if kernel.kind != "idle" else ""),
        Cell(units.seconds(kernel.time_s)),
        Cell(_kernels.share_of_busy(kernel, busy) if busy > 0 and kernel.kind != "idle" else ""),
        Cell(units.energy(kernel.energy), short=units.energy(kernel.energy, doubt=False)),
        Cell(units.power_of(kernel.energy, kernel.powered_s)),
        # Where no FLOP are known at all, the line about coverage says so, not two columns.
        Cell(_short(_kernels.flop_rate(kernel), "FLOP/s") if rates else ""),
        Cell(_short(_kernels.flop_yield(kernel), "FLOP/J") if rates else ""),
        Cell(how, how),
    )


def _short(text: str, unit: str) -> str:
    """``text`` without the unit, which the column's title has."""
    return text.removesuffix(unit).rstrip()
