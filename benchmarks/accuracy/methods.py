"""Ways to split a meter's joules among classes of spans: ours, and what else is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

import picojoule as pj


@dataclass(frozen=True)
class Found:
    """Joules of each class, with a 95 % interval where the method gives one."""

    energy: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    identified: np.ndarray | None = None
    groups: Sequence[np.ndarray] = ()
    cov: np.ndarray | None = None
    residual: float = float("nan")
    seconds: float = float("nan")


def overlap_s(sim, begin_ns, end_ns):
    """(n, K + 1) seconds of each class, and of nothing, in each window; one stream."""
    rows = np.zeros((len(begin_ns), sim.n_classes + 1))
    for k in range(sim.n_classes):
        mine = sim.span_class == k
        b, e = sim.span_begin_ns[mine].astype(float), sim.span_end_ns[mine].astype(float)
        at = np.ravel(np.column_stack([b, e]))
        total = np.cumsum(e - b)
        up_to = np.ravel(np.column_stack([np.concatenate([[0.0], total[:-1]]), total]))
        if len(at):
            rows[:, k] = np.interp(end_ns, at, up_to) - np.interp(begin_ns, at, up_to)
    rows *= 1e-9
    rows[:, -1] = np.maximum(0.0, (end_ns - begin_ns) * 1e-9 - rows[:, :-1].sum(1))
    return rows


def times_s(sim):
    """Seconds of each class in the accounted interval."""
    first, last = sim.begin_ns[:1].astype(float), sim.end_ns[-1:].astype(float)
    return overlap_s(sim, first, last)[0]


def ours(sim, **priors) -> Found:
    begun = time.perf_counter()
    a = pj.attribute(**sim.arguments(), **priors)
    seconds = time.perf_counter() - begun
    low, high = a.interval(0.95).T
    share = abs(a.residual) / a.total if a.total > 0 else float("nan")
    return Found(a.energy, low, high, a.identified, a.groups, a.cov, share, seconds)


def with_priors(sim) -> Found:
    """Ours, told what each class is expected to draw, wrong by 20 %."""
    return ours(sim, **sim.priors(0.2))


def by_time(sim) -> Found:
    """Every span gets the mean power."""
    spent = times_s(sim)
    watts = sim.value.sum() / ((sim.end_ns - sim.begin_ns).sum() * 1e-9)
    return Found(watts * spent[:-1])


def at_reading(sim) -> Found:
    """What runs when a value arrives had drawn it (sampling, as ALEA does on CPUs)."""
    watts = sim.value / ((sim.end_ns - sim.begin_ns) * 1e-9)
    order = np.argsort(sim.span_begin_ns, kind="stable")
    begins, ends = sim.span_begin_ns[order], sim.span_end_ns[order]
    at = np.searchsorted(begins, sim.end_ns, side="right") - 1
    inside = (at >= 0) & (sim.end_ns < ends[np.maximum(at, 0)])
    cls = np.where(inside, sim.span_class[order][np.maximum(at, 0)], sim.n_classes)
    count = np.bincount(cls, minlength=sim.n_classes + 1)
    mean = np.bincount(cls, watts, sim.n_classes + 1) / np.maximum(1, count)
    mean[count == 0] = watts.mean()
    return Found((mean * times_s(sim))[:-1])


def by_counter(sim) -> Found | None:
    """A counter read where a span begins and where it ends, as it stands there."""
    if not sim.contiguous:
        return None
    stands = np.concatenate([[0.0], np.cumsum(sim.value)])
    begin, end = (
        stands[np.searchsorted(sim.end_ns, t, side="right")]
        for t in (sim.span_begin_ns, sim.span_end_ns)
    )
    return Found(np.bincount(sim.span_class, end - begin, sim.n_classes))


def plain_nnls(sim) -> Found:
    """Non-negative least squares on the windows as they were seen (as on benchmark kernels)."""
    rows = overlap_s(sim, sim.begin_ns.astype(float), sim.end_ns.astype(float))
    rates, _ = nnls(rows, sim.value)
    return Found((rates * times_s(sim))[:-1])


METHODS: dict[str, Callable[..., Found | None]] = {
    "picojoule": ours,
    "picojoule, priors off by 20 %": with_priors,
    "plain NNLS": plain_nnls,
    "sample at read": at_reading,
    "counter's differences": by_counter,
    "by time": by_time,
}
