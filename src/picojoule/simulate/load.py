"""What runs, what it draws, and hence the exact truth."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from picojoule.simulate.curve import Curve

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Drift:
    """What makes the same work draw differently later.

    All power is multiplied by ``1 - warmup * exp(-t / warmup_s) + sum(share * heat)``, with t since
    the first span, where a heat is the first-order answer of the power above idle without that
    factor, in units of ``reference_w``: leakage does not heat, so that truth has a closed form.

    Attributes:
        warmup: how much less all draws at the begin.
        warmup_s: how fast that passes.
        thermal: (share, time constant in s) of each thermal mass: die, heat sink.
        reference_w: watts above idle that make a heat of 1.
        cap_w: power cap; beyond it a controller lowers what spans draw above idle. Their times
            stay as they are.
        cap_step_s: the controller's period.
        cap_s: its time constant.
        clocks: (seconds since the first span, clock relative to its mean) from then on. What spans
            draw above idle goes with the clock's square; their times stay as they are.
    """

    warmup: float = 0.0
    warmup_s: float = 20.0
    thermal: tuple[tuple[float, float], ...] = ()
    reference_w: float = 400.0
    cap_w: float = np.inf
    cap_step_s: float = 0.02
    cap_s: float = 0.1
    clocks: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """Spans and what they draw.

    Attributes:
        begin_ns: (m,) i8.
        end_ns: (m,) i8.
        span_class: (m,) i4, 0..K-1.
        stream: (m,) i4; spans of one stream do not overlap.
        watts: (K,) what each class draws while it runs alone, idle power included.
        idle_w: what is drawn when nothing runs.
        names: (K,) of the classes.
        sharing: exponent a. When n spans run at once, power is idle plus n^-a times the sum of
            what each draws above idle.
        drift: see ``Drift``.
    """

    begin_ns: NDArray[np.int64]
    end_ns: NDArray[np.int64]
    span_class: NDArray[np.int32]
    stream: NDArray[np.int32]
    watts: Floats
    idle_w: float
    names: tuple[str, ...] = ()
    sharing: float = 0.0
    drift: Drift = field(default_factory=Drift)


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What was really used in an interval. Joules, watts, seconds.

    When n spans run at once, each is credited 1/n of idle power and ``n^-a`` times what it draws
    above idle alone: the rule that ``pj.attribute`` states. So the classes and the baseline add up
    to the total.

    Attributes:
        energy: (K,) of each class.
        rate: (K,) mean power credited to a class while it ran; of one that did not run, what it
            draws alone.
        baseline_energy: of time in which nothing ran.
        baseline_rate: mean power of that time.
        time_s: (K,) of each class; concurrent spans each count.
        idle_s: time in which nothing ran.
        total: all energy of the interval.
    """

    energy: Floats
    rate: Floats
    baseline_energy: float
    baseline_rate: float
    time_s: Floats
    idle_s: float
    total: float


class Load:
    """The exact power of a ``Work`` from ``first_ns`` to ``last_ns``, and who draws it."""

    def __init__(self, work: Work, first_ns: float, last_ns: float) -> None:
        self.work = work
        edge, count, draw = _pieces(work, first_ns, last_ns)
        # Each span draws its watts and nothing else: no more is made of many millions of pieces
        # than must be.
        self._plain = work.drift == Drift() and not np.any(count > 1)
        if self._plain:
            self.power: Curve = Curve(edge, work.idle_w + draw)
            return
        held = np.ones(len(count))
        if np.isfinite(work.drift.cap_w):
            edge, count, draw, held = _cap(work, edge, count, draw)
        if work.drift.clocks:
            edge, count, draw, held = _clocked(work, edge, count, draw, held)
        with np.errstate(divide="ignore"):
            weight = np.where(count > 0, np.maximum(count, 1.0) ** -work.sharing, 0.0) * held
        factor = _factor(work, edge, weight * draw)
        self.power = factor.scaled(work.idle_w + weight * draw)
        self._idle = factor.scaled(np.where(count == 0, 1.0, 0.0))
        self._own = factor.scaled(weight)
        self._base = factor.scaled(np.where(count > 0, 1.0 / np.maximum(count, 1), 0.0))
        self._free = Curve(edge, np.where(count == 0, 1.0, 0.0))
        self._held = Curve(edge, held)

    def clock(self, t_ns: Floats) -> Floats:
        """The clock at ``t_ns`` relative to its mean; power above idle goes with its square."""
        return np.ones(t_ns.shape) if self._plain else np.sqrt(self._held.power(t_ns))

    def truth(self, begin_ns: float, end_ns: float) -> Truth:
        """What was used in [begin_ns, end_ns)."""
        work = self.work
        k = len(work.watts)
        begin = np.clip(work.begin_ns, begin_ns, end_ns).astype(np.float64)
        end = np.clip(work.end_ns, begin_ns, end_ns).astype(np.float64)
        time_s = np.asarray(np.bincount(work.span_class, (end - begin) * 1e-9, k)[:k], np.float64)
        if self._plain:
            energy = time_s * work.watts
            idle_s = max(0.0, (end_ns - begin_ns) * 1e-9 - float(time_s.sum()))
            idle_j = idle_s * work.idle_w
        else:
            above = np.bincount(work.span_class, self._own.energy(begin, end), k)[:k]
            base = np.bincount(work.span_class, self._base.energy(begin, end), k)[:k]
            energy = above * (work.watts - work.idle_w) + base * work.idle_w
            idle_s = float(self._free.energy(begin_ns, end_ns))
            idle_j = float(self._idle.energy(begin_ns, end_ns)) * work.idle_w
        return Truth(
            energy=energy,
            rate=np.where(time_s > 0, energy / np.where(time_s > 0, time_s, 1.0), work.watts),
            baseline_energy=idle_j,
            baseline_rate=idle_j / idle_s if idle_s > 0 else work.idle_w,
            time_s=time_s,
            idle_s=idle_s,
            total=float(self.power.energy(begin_ns, end_ns)),
        )


def _pieces(work: Work, first_ns: float, last_ns: float) -> tuple[Floats, Floats, Floats]:
    """Edges, and between them how many spans run and what they draw above idle."""
    m = len(work.begin_ns)
    above = (work.watts - work.idle_w)[work.span_class]
    edge = np.empty(2 * m + 2)
    edge[0], edge[-1] = first_ns, last_ns
    count, draw = np.zeros(2 * m + 1), np.zeros(2 * m + 1)
    if np.all(work.begin_ns[1:] >= work.end_ns[:-1]):
        edge[1:-1:2], edge[2:-1:2] = work.begin_ns, work.end_ns
        count[1::2], draw[1::2] = 1.0, above
        return edge, count, draw
    at = np.concatenate([work.begin_ns, work.end_ns])
    order = np.argsort(at, kind="stable")
    edge[1:-1] = at[order]
    one = np.ones(m)
    np.cumsum(np.concatenate([one, -one])[order], out=count[1:])
    np.cumsum(np.concatenate([above, -above])[order], out=draw[1:])
    draw[count == 0] = 0.0  # what rounding left
    return edge, count, draw


def _cap(
    work: Work, edge: Floats, count: Floats, draw: Floats
) -> tuple[Floats, Floats, Floats, Floats]:
    """The pieces cut at the controller's steps, with the factor on what spans draw."""
    drift = work.drift
    step = drift.cap_step_s * 1e9
    at = np.arange(edge[0], edge[-1] + step, step)
    wanted = Curve(edge, np.maximum(count, 1.0) ** -work.sharing * draw)
    asked = np.diff(wanted.energy_until(at)) / drift.cap_step_s
    room = drift.cap_w - work.idle_w
    target = np.minimum(1.0, room / np.maximum(asked, 1e-9))
    pull = -np.expm1(-drift.cap_step_s / drift.cap_s)
    factor = np.ones(len(at))
    for i, goal in enumerate(target.tolist()):  # seen at the end of a step, felt in the next
        factor[i + 1] = factor[i] + pull * (goal - factor[i])
    cut = np.union1d(edge, at[(at > edge[0]) & (at < edge[-1])])
    middle = 0.5 * (cut[:-1] + cut[1:])
    piece = np.clip(np.searchsorted(edge, middle, side="right") - 1, 0, len(count) - 1)
    slot = np.clip(((middle - at[0]) / step).astype(np.intp), 0, len(factor) - 1)
    return cut, count[piece], draw[piece], factor[slot]


def _clocked(
    work: Work, edge: Floats, count: Floats, draw: Floats, held: Floats
) -> tuple[Floats, Floats, Floats, Floats]:
    """The pieces cut where the clock changes, with the factor on what spans draw."""
    since, clock = np.array(work.drift.clocks).T
    at = since * 1e9 + (work.begin_ns.min() if len(work.begin_ns) else 0.0)
    cut = np.union1d(edge, at[(at > edge[0]) & (at < edge[-1])])
    middle = 0.5 * (cut[:-1] + cut[1:])
    piece = np.clip(np.searchsorted(edge, middle, side="right") - 1, 0, len(count) - 1)
    now = np.searchsorted(at, middle, side="right") - 1
    square = np.where(now >= 0, clock[np.maximum(now, 0)], 1.0) ** 2
    return cut, count[piece], draw[piece], held[piece] * square


def _factor(work: Work, edge: Floats, above_w: Floats) -> Curve:
    """The drift's factor on all power."""
    drift = work.drift
    n = len(above_w)
    out = Curve(edge, np.ones(n))
    if drift.warmup:
        since = edge[:-1] - (work.begin_ns.min() if len(work.begin_ns) else 0.0)
        gone = np.exp(-np.maximum(since, 0.0) / (drift.warmup_s * 1e9))
        running = np.where(since >= 0.0, -drift.warmup * gone, 0.0)
        before = np.where(since < 0.0, -drift.warmup, 0.0)
        out = out.plus(Curve(edge, before, running[None, :], np.array([drift.warmup_s * 1e9])))
    if drift.thermal:
        heat = Curve(edge, above_w / drift.reference_w)
        for share, tau_s in drift.thermal:
            out = out.plus(heat.lagged(tau_s).scaled(share))
    return out
