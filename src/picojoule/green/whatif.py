"""What a study would have cost with other data, trials, folds, seeds, epochs or another region.

Cost is the sum over its runs, each scaled by the factors that it has (E x D x H x K x S); only the
region changes no joules. The score is told only where the ledger itself shows how it moves: a law
of the data seen, or the expected best of fewer trials. Otherwise it says that there is no data.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from picojoule.errors import UsageError
from picojoule.green import costs as _costs
from picojoule.green import edh, laws
from picojoule.green import trials as _trials
from picojoule.green.model import Run, Study
from picojoule.green.quantities import Quantity
from picojoule.green.refusal import Refusal
from picojoule.green.scores import larger_is_better_of, score_name_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Roles that train, and so scale with data and epochs.
_TRAINED = ("tune", "final", "ablation", "debug")


@dataclass(frozen=True, slots=True)
class Score:
    """What is known of the score after the change.

    Attributes:
        name: of the score; "" without one.
        before: as it is.
        after: as it would be; nan if there is no data.
        low: lower end of its 95 % interval; nan where nothing moves it.
        high: upper end.
        basis: what ``after`` rests on, or why there is no data.
    """

    name: str
    before: float
    after: float
    low: float
    high: float
    basis: str

    def __str__(self) -> str:
        """``accuracy 0.812 -> 0.794 (0.789 to 0.799), law of 6 sizes of data``."""
        if math.isnan(self.after):
            return f"{self.name or 'score'}: no data ({self.basis})"
        if math.isnan(self.low):
            return f"{self.name} {self.before:.4g} as it is: {self.basis}"
        return (
            f"{self.name} {self.before:.4g} -> {self.after:.4g} ({self.low:.4g} to "
            f"{self.high:.4g}), {self.basis}"
        )


@dataclass(frozen=True, slots=True)
class WhatIf:
    """A study's cost and score, as they are and as they would be.

    Attributes:
        study: its name.
        changes: what is different, in words.
        before: kind of cost -> as it is.
        after: kind of cost -> as it would be; "modelled", since it is scaled.
        score: what is known of the score.
        notes: what was left out or taken as read.
    """

    study: str
    changes: tuple[str, ...]
    before: Mapping[str, Quantity]
    after: Mapping[str, Quantity]
    score: Score
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The answer in words, a line each."""
        out = [f"{self.study}: {', '.join(self.changes) or 'as it is'}"]
        for kind, was in self.before.items():
            then = self.after[kind]
            if not (was.known or then.known):
                if kind == "energy" or was.basis != self.before["energy"].basis:
                    out.append(f"{kind}: unknown ({was.basis or then.basis})")
            elif was.known and then.known and was.value > 0:
                out.append(f"{kind}: {was} -> {then} (x{then.value / was.value:.3g})")
            else:
                out.append(f"{kind}: {was} -> {then}")
        return [*out, str(self.score), *self.notes]


def what_if(
    study: Study,
    *,
    data: float | None = None,
    trials: int | None = None,
    folds: int | None = None,
    seeds: int | None = None,
    epochs: float | None = None,
    region: str | None = None,
    score: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> WhatIf:
    """The study with some of its factors changed.

    Args:
        study: the runs.
        data: times the data set (0.5 is half of it).
        trials: number of configurations tried, in place of those in the ledger.
        folds: number of folds of each configuration.
        seeds: number of seeds of each configuration.
        epochs: number of epochs; the ledger must know how many there were.
        region: where it would run; changes CO2e alone.
        score: which score; None if there is one.
        settings: in place of the study's (region, price and so on).

    Raises:
        UsageError: a factor that is not above 0, or epochs or trials where the ledger does not know
            how many there were.
    """
    told = {**study.settings, **(settings or {})}
    here = Study(study.name, tuple(study), told)
    h = edh.decompose(here, score=score)
    factor, changes, notes = _factors(here, h, data, trials, folds, seeds, epochs)
    there = dict(told)
    if region is not None:
        there.update(region=region, everywhere=True)
        there.pop("carbon_factor", None)
        there.pop("mix", None)
        changes.append(f"region {region}")
    charged = {kind: _costs.of(here, kind) for kind in _costs.KINDS}
    before = {kind: c.sum() for kind, c in charged.items()}
    if region is not None:
        charged = {kind: _costs.of(here, kind, there) for kind in _costs.KINDS}
    how = ", ".join(changes)
    after = {kind: _costs.scaled_sum(c, factor, how) for kind, c in charged.items()}
    moved = [
        name
        for name, value in (("data", data), ("trials", trials), ("folds", folds),
                            ("epochs", epochs))
        if value is not None
    ]  # fmt: skip
    found = _score(here, moved, data, trials, epochs, h, score)
    if seeds is not None and not math.isnan(found.after):
        notes.append("other seeds change how well the score is known, not what is expected of it")
    return WhatIf(study.name, tuple(changes), before, after, found, tuple(notes))


def _factors(
    study: Study,
    h: edh.EDH,
    data: float | None,
    tried: int | None,
    folds: int | None,
    seeds: int | None,
    epochs: float | None,
) -> tuple[NDArray[np.float64], list[str], list[str]]:
    """(factor of each run, what changes, what was taken as read)."""
    for name, value in (("data", data), ("trials", tried), ("folds", folds), ("seeds", seeds),
                        ("epochs", epochs)):  # fmt: skip
        if value is not None and not (value > 0 and math.isfinite(value)):
            raise UsageError(f"{name} must be above 0, not {value}")
    factor = np.ones(len(study))
    changes: list[str] = []
    notes: list[str] = []
    trained = np.array([r.role in _TRAINED for r in study], bool)
    if data is not None:
        factor[trained] *= data
        changes.append(f"x{data:g} data")
    if epochs is not None:
        if math.isnan(h.epochs):
            raise UsageError(
                "how many epochs there were is unknown: the final runs do not tell examples= and "
                "dataset_size="
            )
        factor[trained] *= epochs / h.epochs
        changes.append(f"{epochs:g} epochs for {h.epochs:g}")
    if tried is not None:
        _fewer_trials(study, h, tried, factor, notes)
        changes.append(f"{tried} trials for {h.configs:.0f}")
    for name, value, present in (("fold", folds, h.folds), ("seed", seeds, h.seeds)):
        if value is None:
            continue
        # Where some runs tell a fold (or seed), those without one are no part of the repetition.
        repeated = np.array([bool(getattr(r, name)) for r in study], bool)
        chosen = trained & repeated if repeated.any() else trained
        factor[chosen] *= value / present
        changes.append(f"{value} {name}s for {present}")
    return factor, changes, notes


def _fewer_trials(
    study: Study, h: edh.EDH, tried: int, factor: NDArray[np.float64], notes: list[str]
) -> None:
    """The final experiment stays what it is; the other configurations scale with their number."""
    if math.isnan(h.configs):
        raise UsageError("how many trials there were is unknown: no run tells its config=")
    finals = {r.config_hash for r in study if r.role == "final"}
    searched = np.array([r.role == "tune" for r in study], bool)
    if not finals:
        searched = np.array([r.role in _trials.SEARCHED for r in study], bool)
    present = {r.config_hash for r, s in zip(study, searched.tolist(), strict=True) if s} - {""}
    # A final run repeats one of the trials, or is one more that was not tuned.
    beyond = len(finals - present - {""})
    if not present:
        raise UsageError("there are no trials to have more or fewer of: no run has the role 'tune'")
    factor[searched] *= max(0, tried - beyond) / len(present)
    if finals:
        notes.append("the final experiment is as it is; the cost of tuning goes by the trials")


def _score(
    study: Study,
    moved: list[str],
    data: float | None,
    tried: int | None,
    epochs: float | None,
    h: edh.EDH,
    score: str | None,
) -> Score:
    nan = math.nan
    try:
        name = score_name_of(study, score)
    except Refusal as why:
        return Score("", nan, nan, nan, nan, why.reason)
    now = _present(study, name)
    if not moved:
        return Score(name, now, now, nan, nan, "nothing that moves it was changed")
    if len(moved) > 1:
        words = f"{' and '.join(moved)} at once: no run shows what they do together"
        return Score(name, now, nan, nan, nan, words)
    try:
        if tried is not None:
            return _by_trials(study, name, tried)
        if moved == ["folds"]:
            raise Refusal("with other folds a run trains on another share of the data")
        if data is not None:
            return _by_law(study, name, "dataset_size", h.dataset_size, data)
        assert epochs is not None
        return _by_law(study, name, "epochs", h.epochs, epochs / h.epochs)
    except Refusal as why:
        return Score(name, now, nan, nan, nan, why.reason)


def _present(study: Study, name: str) -> float:
    """Mean score of the final experiment, else the best configuration's."""
    final = [
        r.scores[name] for r in study if r.role == "final" and name in r.scores and not r.failed
    ]
    if final:
        return float(np.mean(final))
    means = _trials.trial_scores(_searched(study), name)
    if not means:
        return math.nan
    return (max if larger_is_better_of(study, name) else min)(means.values())


def _searched(study: Study) -> Study:
    return study.part(study.columns.names("role").being(*_trials.SEARCHED))


def _by_trials(study: Study, name: str, tried: int) -> Score:
    larger = _trials.of_study(study, name).larger_is_better  # refuses what is no random search
    values = list(_trials.trial_scores(_searched(study), name).values())
    many = len(values)
    now = _trials.expected_best(values, many, larger_is_better=larger)
    after = _trials.expected_best(values, tried, larger_is_better=larger)
    low, high = _trials.range_of_best(values, tried, larger)
    return Score(
        name, now, after, low, high,
        f"expected best of {tried} in place of {many} trials of random search",
    )  # fmt: skip


def _by_law(study: Study, name: str, what: str, present: float, factor: float) -> Score:
    """The score by a law of the data sizes (or epochs) in the ledger, all else equal."""
    x, y = _controlled(study, name, what)
    law = laws.fit(x, y, larger_is_better=larger_is_better_of(study, name))
    start = present if present > 0 else float(law.cost[-1])
    after = law.predict(start * factor)
    low, high = law.predict_interval(start * factor)
    words = "sizes of data" if what == "dataset_size" else "numbers of epochs"
    return Score(
        name, law.predict(start), after, low, high,
        f"logarithmic law of {laws.distinct_costs(law.cost)} {words} in the ledger",
    )  # fmt: skip


def _controlled(
    study: Study, name: str, what: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(x, score) of the largest group of runs that differ in nothing but ``what``, ascending."""
    scored = [
        (r, _x_of(r, what))
        for r in study
        if r.status == "ok" and math.isfinite(r.scores.get(name, math.nan))
    ]
    usable = [(r, x) for r, x in scored if x > 0]
    words = "dataset_size=" if what == "dataset_size" else "examples= and dataset_size="
    if not usable:
        raise Refusal(f"no run with a score tells its {words}")
    follow = _keys_that_follow(usable)
    rest: dict[str, str] = {}  # config hash -> its hyper-parameters but those
    groups: dict[tuple[str, float | None], list[tuple[float, float]]] = {}
    for r, x in usable:
        other = _x_of(r, "epochs" if what == "dataset_size" else "dataset_size")
        if r.config_hash not in rest:
            rest[r.config_hash] = json.dumps(_without(r, follow), default=str, sort_keys=True)
        key = rest[r.config_hash], None if math.isnan(other) else other
        groups.setdefault(key, []).append((x, r.scores[name]))
    best = max(groups.values(), key=lambda g: len({x for x, _ in g}))
    sizes = {x for x, _ in best}
    if len(sizes) < laws.LEAST_COSTS:
        thing = "sizes of data" if what == "dataset_size" else "numbers of epochs"
        raise Refusal(
            f"the ledger has {len(sizes)} {thing} with all else equal; a law takes at least "
            f"{laws.LEAST_COSTS}"
        )
    table = np.array(sorted(best), float)
    return table[:, 0], table[:, 1]


def _x_of(r: Run, what: str) -> float:
    return r.dataset_size if what == "dataset_size" else r.examples / r.dataset_size


def _keys_that_follow(runs: list[tuple[Run, float]]) -> set[str]:
    """Hyper-parameters that only say the same as x in other words (``fraction``, ``epochs``)."""
    sizes = {x for _, x in runs}
    configs: dict[tuple[str, float], Mapping[str, Any]] = {}
    for r, x in runs:
        if isinstance(r.config, Mapping):
            configs.setdefault((r.config_hash, x), r.config)
    if len(sizes) < 2:
        return set()
    out = set()
    for key in dict.fromkeys(k for c in configs.values() for k in c):
        pairs: set[tuple[str, float]] = set()
        for (_, x), config in configs.items():
            pairs.add((json.dumps(config.get(key), default=str), x))
            if len(pairs) > len(sizes):
                break
        if len({v for v, _ in pairs}) == len(pairs) == len(sizes):
            out.add(key)
    return out


def _without(r: Run, keys: set[str]) -> Any:
    if isinstance(r.config, Mapping):
        return {k: v for k, v in r.config.items() if k not in keys}
    return r.config
