"""From the ticks of channels that tell no energy to ``Profile.counters``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from picojoule.counters_view import Counter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from picojoule import _core
    from picojoule.results import Channel

#: Flags of a tick (cpp/model/record.h).
_HELD, _RESET = 1, 4
#: The sampler notes a value that stays the same every second. Where it said nothing for longer, it
#: was not looking.
_SILENCE_NS = 1_500_000_000
_MEANS = ("ratio", "rate")
_UNITS = {"ratio": "1", "rate": "B/s", "frequency": "Hz", "flags": "mask", "temperature": "°C"}

Stretch = tuple[int, int]


def counter_table(trace: _core.Trace, channels: tuple[Channel, ...]) -> Mapping[str, Counter]:
    """Name -> series, of every channel that tells no energy, in the meters' order."""
    return MappingProxyType(
        {c.name: c for c in (_counter(trace, c) for c in channels if not c.tells_energy)}
    )


def _counter(trace: _core.Trace, channel: Channel) -> Counter:
    rows = trace.ticks[trace.ticks["id"] == channel.index]
    gaps = [
        (begin, end or trace.end_ns)
        for index, begin, end, _ in trace.gaps
        if index == channel.index
    ]
    delta = math.nan
    if channel.quantity == "count":
        time_ns, value = _counted(trace, channel, rows, gaps)
        delta = float(value[-1])
    else:
        time_ns, value = _steps(trace, channel, rows, gaps)
    for array in (time_ns, value):
        array.setflags(write=False)
    return Counter(
        name=f"{channel.domain}/{channel.field}",
        meter=channel.meter,
        domain=channel.domain,
        field=channel.field,
        quantity=channel.quantity,
        unit=_UNITS.get(channel.quantity) or _counts_what(channel.field),
        provenance=channel.provenance,
        time_ns=time_ns,
        value=value,
        end_ns=trace.end_ns,
        delta=delta,
        note=channel.note,
    )


def _counts_what(field: str) -> str:
    return {"ns": "ns", "flop": "FLOP", "bytes": "B"}.get(field.rpartition("_")[2], "1")


def _silence(channel: Channel) -> int:
    return max(_SILENCE_NS, 3 * channel.update_period_ns)


def _steps(
    trace: _core.Trace, channel: Channel, rows: NDArray[Any], gaps: list[Stretch]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Where a gauge began to have which value; nan where that is not known."""
    begin, end = trace.begin_ns, trace.end_ns
    starts = _starts(channel, rows)
    values = rows["c"].astype("f8") * channel.unit
    unknown = [*gaps, *_silences(channel, rows, starts, end)]
    edges = np.array([begin, *(t for stretch in unknown for t in stretch)], dtype="i8")
    at = np.unique(np.concatenate([starts, edges]))
    at = at[(at >= begin) & (at < end)] if end > begin else np.array([begin], dtype="i8")
    place = np.searchsorted(starts, at, side="right") - 1
    value = np.full(len(at), math.nan)
    value[place >= 0] = values[place[place >= 0]]
    for first, last in unknown:
        value[(at >= first) & (at < last)] = math.nan
    same = (value[1:] == value[:-1]) | (np.isnan(value[1:]) & np.isnan(value[:-1]))
    kept = np.concatenate([[True], ~same])
    return at[kept], value[kept]


def _starts(channel: Channel, rows: NDArray[Any]) -> NDArray[np.int64]:
    """When each value began to hold; ascending."""
    seen_old, seen_new = rows["b"].astype("i8"), rows["a"].astype("i8")
    held = (rows["flags"] & _HELD) != 0
    if channel.quantity not in _MEANS:
        # It changed some time between two looks; a held one was there at the first of them.
        starts = np.where(held, seen_old, (seen_old + seen_new) // 2)
        return np.asarray(np.maximum.accumulate(starts))
    # A mean is over the time since the last look that still gave the one before it.
    starts = seen_old.copy()
    # A value that was not seen to arise is the mean over the sensor's window.
    starts[held] -= channel.window_ns
    before = np.concatenate([[np.iinfo("i8").min], seen_new[:-1]]) if len(rows) else starts
    return np.asarray(np.maximum.accumulate(np.maximum(starts, np.where(held, before, starts))))


def _silences(
    channel: Channel, rows: NDArray[Any], starts: NDArray[np.int64], end: int
) -> Iterator[Stretch]:
    """Stretches in which the sampler did not look, and so nobody knows that a value still held."""
    limit = _silence(channel)
    for i in np.flatnonzero((rows["flags"][1:] & _HELD) != 0).tolist() if len(rows) else ():
        last, again = int(rows["a"][i]), int(starts[i + 1])
        if int(rows["b"][i + 1]) - last > limit:
            yield last, again
    if len(rows) and end - int(rows["a"][-1]) > limit:
        yield int(rows["a"][-1]), end


def _counted(
    trace: _core.Trace, channel: Channel, rows: NDArray[Any], gaps: list[Stretch]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """What was counted from the begin to each look and to the end; nan if it cannot be known."""
    begin, end = trace.begin_ns, trace.end_ns
    unknown = np.array([begin, end], dtype="i8"), np.full(2, math.nan)
    if not len(rows):
        return unknown
    total = rows["c"].astype("f8") * channel.unit
    # It rose between two looks: at the first it still had the old value.
    times = np.stack([rows["b"], rows["a"]], axis=1).astype("i8")
    levels = np.stack([np.concatenate([total[:1], total[:-1]]), total], axis=1)
    fresh = (rows["flags"] & _HELD) != 0
    levels[fresh, 0] = total[fresh]  # nothing is known of the time before
    points, level = np.maximum.accumulate(times.ravel()), levels.ravel()
    outside = begin < points[0] or end - points[-1] > _silence(channel)
    lost = any(first <= t < last for t in (begin, end) for first, last in gaps)
    inside = (rows["a"] > begin) & (rows["b"] < end)
    if outside or lost or ((rows["flags"][inside] & _RESET) != 0).any():
        return unknown
    looks = np.unique(points[(points > begin) & (points < end)])
    at = np.concatenate([[begin], looks, [end]]).astype("i8")
    # Times relative to the begin: a double does not hold ns since boot together with fractions.
    value = np.interp((at - begin).astype("f8"), (points - begin).astype("f8"), level)
    return at, value - value[0]
