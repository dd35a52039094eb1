"""Power over time, in closed form: constant pieces with exponential tails."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

_S = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """``level + sum_i decay[i] * exp(-(t - edge) / tau[i])`` in each piece; sampled nowhere.

    That form is closed under what simulated hardware does to power (first-order lags, sums), so
    that joules between any two instants are exact to rounding. Outside its edges it is constant.

    Attributes:
        edge_ns: (n + 1,) begin of each piece, and the end of the last; never falling.
        level_w: (n,) watts.
        decay_w: (m, n) watts at the begin of the piece that die away.
        tau_ns: (m,) time constants, all different.
    """

    edge_ns: Floats
    level_w: Floats
    decay_w: Floats = field(default_factory=lambda: np.empty((0, 0)))
    tau_ns: Floats = field(default_factory=lambda: np.empty(0))
    _sum_j: Floats | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if not len(self.tau_ns):
            object.__setattr__(self, "decay_w", np.empty((0, len(self.level_w))))

    def _sums(self) -> Floats:
        """Joules up to each edge; made when first asked for, since many curves are only steps."""
        if self._sum_j is not None:
            return self._sum_j
        length = np.diff(self.edge_ns)
        piece = self.level_w * length
        for amount, tau in zip(self.decay_w, self.tau_ns, strict=True):
            piece -= amount * tau * np.expm1(-length / tau)
        total = np.empty(len(self.edge_ns))
        total[0] = 0.0
        np.cumsum(piece, out=total[1:])
        total *= _S
        object.__setattr__(self, "_sum_j", total)
        return total

    def _piece(self, t_ns: Floats) -> NDArray[np.intp]:
        found = np.searchsorted(self.edge_ns, t_ns, side="right") - 1
        return np.clip(found, 0, len(self.level_w) - 1)

    def power(self, t_ns: ArrayLike) -> Floats:
        """Watts at ``t_ns``, of any shape; at an edge those after it."""
        t = np.clip(np.asarray(t_ns, dtype=np.float64), self.edge_ns[0], self.edge_ns[-1])
        k = self._piece(t)
        out = self.level_w[k]
        for amount, tau in zip(self.decay_w, self.tau_ns, strict=True):
            out = out + amount[k] * np.exp(-(t - self.edge_ns[k]) / tau)
        return np.asarray(out)

    def energy_until(self, t_ns: ArrayLike) -> Floats:
        """Joules from the first edge to ``t_ns``, of any shape; negative before it."""
        t = np.asarray(t_ns, dtype=np.float64)
        inside = np.clip(t, self.edge_ns[0], self.edge_ns[-1])
        if len(self.tau_ns):
            k = self._piece(inside)
            since = inside - self.edge_ns[k]
            out = self.level_w[k] * since
            for amount, tau in zip(self.decay_w, self.tau_ns, strict=True):
                out -= amount[k] * tau * np.expm1(-since / tau)
            out = self._sums()[k] + out * _S
        else:
            out = np.interp(inside, self.edge_ns, self._sums())
        if np.any(inside != t):
            first, last = self.power(self.edge_ns[[0, -1]])
            out = out + np.where(t < inside, first, last) * (t - inside) * _S
        return np.asarray(out)

    def energy(self, begin_ns: ArrayLike, end_ns: ArrayLike) -> Floats:
        """Joules of [begin_ns, end_ns), of any shape."""
        return np.asarray(self.energy_until(end_ns) - self.energy_until(begin_ns))

    def scaled(self, factor: ArrayLike) -> Curve:
        """Each piece times ``factor``, a scalar or (n,)."""
        factor = np.asarray(factor, dtype=np.float64)
        return Curve(self.edge_ns, self.level_w * factor, self.decay_w * factor, self.tau_ns)

    def plus(self, other: Curve) -> Curve:
        """The sum with a curve of the same edges."""
        mine = dict(zip(self.tau_ns.tolist(), self.decay_w, strict=True))
        for tau, amount in zip(other.tau_ns.tolist(), other.decay_w, strict=True):
            mine[tau] = mine[tau] + amount if tau in mine else amount
        return Curve(self.edge_ns, self.level_w + other.level_w, *_stacked(mine, len(self.level_w)))

    def lagged(self, tau_s: float) -> Curve:
        """The answer of a first-order lag ``tau y' = P - y`` that was settled at the first edge."""
        if tau_s <= 0.0:
            return self
        tau = tau_s * 1e9
        while np.any(np.abs(self.tau_ns / tau - 1.0) < 1e-6):  # resonance has another form
            tau *= 1.0 + 3e-6
        length = np.diff(self.edge_ns)
        step = -np.expm1(-length / tau) * self.level_w
        own = self.level_w.copy()
        answers = {}
        for amount, other in zip(self.decay_w, self.tau_ns, strict=True):
            answer = amount * (other / (other - tau))
            step += answer * (np.expm1(-length / other) - np.expm1(-length / tau))
            own += answer
            answers[other] = answer
        state = recurrence(length / tau, step, float(self.power(self.edge_ns[0])))
        answers[tau] = state[:-1] - own
        return Curve(self.edge_ns, self.level_w, *_stacked(answers, len(self.level_w)))


#: Weights within a block of the recurrence stay below exp of this.
_MOST_DECAY = 50.0
_MOST_BLOCKS = 20_000


def recurrence(decay: Floats, step: Floats, first: float) -> Floats:
    """All of ``y[k + 1] = exp(-decay[k]) * y[k] + step[k]`` with ``y[0] = first``; decay >= 0."""
    since = np.concatenate([[0.0], np.cumsum(decay)])
    if since[-1] > _MOST_DECAY * _MOST_BLOCKS:
        return _by_doubling(np.exp(-decay), step, first)
    y = np.empty(len(decay) + 1)
    y[0] = first
    k = 0
    while k < len(decay):
        # In a block the sum runs over terms that were taken back to its begin.
        end = int(np.searchsorted(since, since[k] + _MOST_DECAY, side="right")) - 1
        if end <= k:  # one piece that forgets all
            y[k + 1] = np.exp(-decay[k]) * y[k] + step[k]
            k += 1
            continue
        ago = since[k + 1 : end + 1] - since[k]
        y[k + 1 : end + 1] = np.exp(-ago) * (y[k] + np.cumsum(step[k:end] * np.exp(ago)))
        k = end
    return y


def _by_doubling(kept: Floats, step: Floats, first: float) -> Floats:
    """The same where little is remembered for long: each pass sees twice as many steps back."""
    y = np.concatenate([[first], step])
    weight = np.concatenate([[0.0], kept])
    far = 1
    while far < len(y) and weight[far:].max() > 1e-19:
        y[far:] += weight[far:] * y[:-far]
        weight[far:] *= weight[:-far]
        far *= 2
    return y


def _stacked(amounts: dict[float, Floats], n: int) -> tuple[Floats, Floats]:
    if not amounts:
        return np.empty((0, n)), np.empty(0)
    return np.stack(list(amounts.values())), np.array(list(amounts), dtype=np.float64)
