"""What the next point of score costs: a law of (cost, score) pairs, or why there is none.

Both laws of diminishing returns are offered. The logarithmic one (a constant gain for each tenfold
cost) is local and optimistic at the dear end; the saturating one has a score that no cost passes.
Either is fitted to one controlled family of runs or to the front (the best at each level of cost),
never to a mixed cloud.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from picojoule.errors import UsageError
from picojoule.green import pareto
from picojoule.green.fits import (
    LogFit,
    SaturatingFit,
    fit_log,
    fit_saturating,
    log_cost_factor,
    power_law_cost_factor,
)
from picojoule.green.quantities import Dimension, Quantity, unit_of
from picojoule.green.refusal import Refusal

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "LAWS",
    "Law",
    "NextPoint",
    "Refusal",
    "fit",
    "log_cost_factor",
    "power_law_cost_factor",
]

#: "log": score = a + b log10(cost). "saturating": score = top - k cost^-alpha.
LAWS = ("log", "saturating")

#: Fewer distinct costs carry no law.
LEAST_COSTS = 4

_KIND_OF: Mapping[Dimension, str] = {
    (("J", 1),): "energy",
    (("g", 1),): "co2e",
    (("s", 1),): "hours",
    (("FLOP", 1),): "flops",
}

#: Costs closer than this ratio are one cost.
_SAME_COST = 1.02


@dataclass(frozen=True, slots=True)
class NextPoint:
    """The price of a better score.

    Attributes:
        delta: by how much, in the score's unit.
        score: fitted score where it starts from.
        cost: where it starts from, in the unit of the fit.
        factor: times that cost; what is to be spent in place of it.
        factor_low: lower end of its interval.
        factor_high: upper end.
        level: of the interval.
        prices: kind of cost -> what comes on top (``factor`` - 1 times the cost), with its range.
        basis: law, points, and where they come from.
    """

    delta: float
    score: float
    cost: float
    factor: float
    factor_low: float
    factor_high: float
    level: float
    prices: Mapping[str, Quantity] = field(default_factory=dict)
    basis: str = ""

    @property
    def extra(self) -> float:
        """What comes on top, in the unit of the fit."""
        return self.cost * (self.factor - 1.0)

    @property
    def extra_interval(self) -> tuple[float, float]:
        """Its interval."""
        return self.cost * (self.factor_low - 1.0), self.cost * (self.factor_high - 1.0)

    def priced(self, present: Mapping[str, Quantity]) -> NextPoint:
        """With ``prices`` from the ``present`` costs of where it starts from, by kind."""
        prices = {kind: self._on_top(q) for kind, q in present.items()}
        return NextPoint(
            self.delta, self.score, self.cost, self.factor, self.factor_low, self.factor_high,
            self.level, {**self.prices, **prices}, self.basis,
        )  # fmt: skip

    def _on_top(self, present: Quantity) -> Quantity:
        if not present.known:
            return present
        value = present.value * (self.factor - 1.0)
        # The law's doubt and that of the present cost are independent of each other.
        down = math.hypot(
            present.value * (self.factor - self.factor_low),
            (present.value - present.low) * (self.factor - 1.0),
        )
        up = math.hypot(
            present.value * (self.factor_high - self.factor),
            (present.high - present.value) * (self.factor - 1.0),
        )
        return Quantity(
            value, present.dimension, max(0.0, value - down), value + up, "modelled",
            "; ".join(b for b in (self.basis, present.basis) if b),
        )  # fmt: skip

    def __str__(self) -> str:
        """``+0.01 costs x1.53 (1.31 to 1.98)``."""
        return (
            f"+{self.delta:g} costs x{self.factor:.3g} "
            f"({self.factor_low:.3g} to {self.factor_high:.3g})"
        )


@dataclass(frozen=True, slots=True)
class Law:
    """A law fitted to (cost, score) pairs.

    Attributes:
        kind: one of ``LAWS``.
        curve: the fit, in gains (losses with their sign turned).
        larger_is_better: whether scores are gains.
        cost: costs that it was fitted to, ascending, in ``unit``.
        score: their scores.
        unit: of the costs; "" is a plain number.
        on: "front" or "family".
        basis: what was fitted, in words.
    """

    kind: str
    curve: LogFit | SaturatingFit
    larger_is_better: bool
    cost: NDArray[np.float64]
    score: NDArray[np.float64]
    unit: str = ""
    on: str = "family"
    basis: str = ""

    @property
    def sign(self) -> float:
        """1 for gains, -1 for losses."""
        return 1.0 if self.larger_is_better else -1.0

    @property
    def parameters(self) -> dict[str, float]:
        """Name -> value in the score's own direction (a and b; e0 or top, k and alpha)."""
        if isinstance(self.curve, LogFit):
            return {"a": self.sign * self.curve.a, "b": self.sign * self.curve.b}
        k = self.curve.k * self.curve.scale**self.curve.alpha
        limit = "top" if self.larger_is_better else "e0"
        return {limit: self.sign * self.curve.top, "k": k, "alpha": self.curve.alpha}

    @property
    def r2(self) -> float:
        """Share of the scores' variance that it explains."""
        return self.curve.r2

    def intervals(self, level: float = 0.95) -> dict[str, tuple[float, float]]:
        """Name -> interval of the parameters that say something alone (b; top or e0, alpha)."""
        if isinstance(self.curve, LogFit):
            return {"b": self._turned(self.curve.slope(level))}
        limit = "top" if self.larger_is_better else "e0"
        return {
            limit: self._turned(self.curve.top_interval(level)),
            "alpha": self.curve.alpha_interval(level),
        }

    def predict(self, cost: float) -> float:
        """Fitted score at ``cost``, wherever that is."""
        return self.sign * self.curve.score(_positive(cost))

    def predict_interval(
        self, cost: float, level: float = 0.95, new: bool = False
    ) -> tuple[float, float]:
        """Interval of the mean score at ``cost``, or with ``new`` of one more run there.

        Raises:
            Refusal: ``cost`` is more than a decade beyond the costs that were fitted.
        """
        self._within_a_decade(_positive(cost))
        return self._turned(self.curve.score_interval(cost, level, new))

    def next_point(
        self, delta: float | None = None, *, at: float | None = None, level: float = 0.95
    ) -> NextPoint:
        """What ``delta`` more of the score costs.

        Args:
            delta: improvement, above 0; None is one point: 0.01 if all scores lie within 0 and 1,
                else 1.
            at: cost where it starts from; None is the largest that was fitted.
            level: of the interval.

        Raises:
            Refusal: the slope is not distinguishable from 0, the score lies or may lie beyond what
                any cost reaches, or the price is more than a decade beyond what was fitted.
            UsageError: ``delta`` is not above 0.
        """
        step = one_point(self.score) if delta is None else float(delta)
        if not (step > 0 and math.isfinite(step)):
            raise UsageError(f"delta must be above 0, not {delta}")
        start = float(self.cost[-1]) if at is None else _positive(at)
        self._within_a_decade(start)
        self._rises(level)
        factor = self.curve.factor(start, step)
        low, high = self.curve.factor_interval(start, step, level)
        goal = self.predict(start) + self.sign * step
        if isinstance(self.curve, SaturatingFit) and math.isinf(factor):
            limit = self.sign * self.curve.top
            raise Refusal(
                f"{goal:.4g} lies beyond the {limit:.4g} that no cost passes by the saturating law"
            )
        most = float(self.cost[-1])
        if start * factor > 10.0 * most:
            decades = math.log10(start * factor / most)
            raise Refusal(
                f"the price would be extrapolated by {decades:.1f} decades of cost; "
                "one is the most that a fit is good for"
            )
        if math.isinf(high):
            raise Refusal(
                f"the price has no upper end: it takes at least x{low:.3g}, and {goal:.4g} may lie "
                "beyond what any cost reaches"
            )
        return NextPoint(
            step, self.predict(start), start, factor, min(low, factor), max(high, factor), level,
            self._own_price(start, factor, low, high), self.basis,
        )  # fmt: skip

    def _own_price(
        self, start: float, factor: float, low: float, high: float
    ) -> dict[str, Quantity]:
        if not self.unit:
            return {}
        dimension, size = unit_of(self.unit)
        here = start * size
        value, least, most = (here * (f - 1.0) for f in (factor, low, high))
        q = Quantity(
            value, dimension, min(value, least), max(value, most),
            "modelled", self.basis,
        )  # fmt: skip
        return {_KIND_OF.get(dimension, "money"): q}

    def _rises(self, level: float) -> None:
        if isinstance(self.curve, LogFit):
            low, high = self.curve.slope(level)
            if low <= 0:
                turned = self._turned((low, high))
                raise Refusal(
                    f"the slope is not distinguishable from 0: {turned[0]:.3g} to {turned[1]:.3g} "
                    "for each tenfold cost"
                )
        elif self.curve.k <= 0:
            raise Refusal("the score does not improve with cost")
        elif fit_log(self.cost, self.sign * self.score).slope(level)[0] <= 0:
            raise Refusal("the slope is not distinguishable from 0: no price can be told")

    def _within_a_decade(self, cost: float) -> None:
        least, most = float(self.cost[0]), float(self.cost[-1])
        # A hair beyond is rounding of whoever asks for exactly a decade.
        if cost > 10.0 * most * (1 + 1e-9) or cost < least / 10.0 * (1 - 1e-9):
            beyond = max(math.log10(cost / most), math.log10(least / cost))
            raise Refusal(
                f"{cost:.3g} lies {beyond:.1f} decades beyond the costs that were fitted "
                f"({least:.3g} to {most:.3g}); one is the most that a fit is good for"
            )

    def _turned(self, ends: tuple[float, float]) -> tuple[float, float]:
        low, high = sorted((self.sign * ends[0], self.sign * ends[1]))
        return low, high


def fit(
    cost: ArrayLike,
    score: ArrayLike,
    law: str = "log",
    *,
    larger_is_better: bool = True,
    family: Sequence[Hashable] | None = None,
    on: str = "family",
    unit: str = "",
    basis: str = "",
) -> Law:
    """Fit a law of diminishing returns.

    Args:
        cost: shape (n,), above 0, all of one kind.
        score: shape (n,). Pairs with a nan take no part.
        law: one of ``LAWS``.
        larger_is_better: False for losses and errors.
        family: of each pair what it belongs to (an architecture, say); of more than one family only
            the front may be fitted.
        on: "family" fits all pairs, "front" the best at each level of
            cost (``pareto.envelope``).
        unit: of the costs, such as "kWh".
        basis: where the pairs come from.

    Raises:
        Refusal: no scores, no costs, one run, fewer than four distinct costs (on the front), or
            pairs of several families.
        UsageError: shapes differ, an unknown law, infinite values, or costs below 0.
    """
    if law not in LAWS:
        raise UsageError(f"law must be one of {', '.join(LAWS)}, not {law!r}")
    if on not in ("family", "front"):
        raise UsageError(f"on must be 'family' or 'front', not {on!r}")
    costs, scores = _pairs(cost, score)
    known = ~(np.isnan(costs) | np.isnan(scores))
    if family is not None:
        if len(family) != len(costs):
            raise UsageError(f"{len(family)} families for {len(costs)} pairs")
        kept = {f for f, k in zip(family, known.tolist(), strict=True) if k}
        if len(kept) > 1 and on != "front":
            names = ", ".join(sorted(map(str, kept))[:4])
            raise Refusal(
                f"{len(kept)} families are mixed ({names}): fit one of them, or the front"
            )
    costs, scores = costs[known], scores[known]
    if on == "front":
        chosen = pareto.envelope(costs, scores, larger_is_better)
        costs, scores = costs[chosen], scores[chosen]
    order = np.argsort(costs, kind="stable")
    costs, scores = costs[order], scores[order]
    distinct = distinct_costs(costs)
    if distinct < LEAST_COSTS:
        where = " on the front" if on == "front" else ""
        raise Refusal(
            f"{distinct} distinct cost{'s' * (distinct != 1)}{where}; a law takes at least "
            f"{LEAST_COSTS}"
        )
    gains = scores if larger_is_better else -scores
    curve = fit_log(costs, gains) if law == "log" else fit_saturating(costs, gains)
    words = f"{law} law of {len(costs)} {'front points' if on == 'front' else 'runs'}"
    return Law(law, curve, larger_is_better, costs, scores, unit, on,
               f"{words}, {basis}" if basis else words)  # fmt: skip


def one_point(scores: NDArray[np.float64]) -> float:
    """What a point is: 0.01 for scores within 0 and 1, else 1."""
    return 0.01 if bool(np.all((scores >= 0) & (scores <= 1))) else 1.0


def distinct_costs(costs: NDArray[np.float64]) -> int:
    """Number of costs that differ by more than 2 %; ``costs`` ascending and above 0."""
    count, last = 0, 0.0
    for c in costs.tolist():
        if c > last * _SAME_COST:
            count, last = count + 1, c
    return count


def _pairs(cost: Any, score: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    costs, scores = np.asarray(cost, float), np.asarray(score, float)
    if costs.shape != scores.shape or costs.ndim != 1:
        raise UsageError(f"costs {costs.shape} and scores {scores.shape} must be two equal rows")
    if np.isinf(costs).any() or np.isinf(scores).any():
        raise UsageError("costs and scores must be finite, or nan if unknown")
    if (costs <= 0).any():
        raise UsageError("costs must be above 0")
    if not len(costs) or np.isnan(scores).all():
        raise Refusal("there are no scores")
    if np.isnan(costs).all():
        raise Refusal("there are scores, but the cost of none is known")
    both = int((~(np.isnan(costs) | np.isnan(scores))).sum())
    if both == 0:
        raise Refusal("no run has both a score and a cost")
    if both == 1:
        raise Refusal("one run with a score and a cost is no curve")
    return costs, scores


def _positive(cost: float) -> float:
    if not (cost > 0 and math.isfinite(cost)):
        raise UsageError(f"a cost must be above 0, not {cost}")
    return float(cost)
