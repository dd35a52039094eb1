"""How much a score depends on the hyper-parameters: at equal cost, and of each one alone.

What a hyper-parameter explains by chance is told beside what it explains: any key explains some of
the variance of a few trials.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from picojoule.green import curves
from picojoule.green.model import Study
from picojoule.green.refusal import Refusal
from picojoule.green.scores import score_name_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Fewer trials say nothing of what a hyper-parameter explains.
LEAST_TRIALS = 10

#: Of more trials so many are drawn: shuffling takes memory.
MOST_TRIALS = 2000

#: Trials whose costs differ by less than this ratio cost the same.
SAME_COST = 1.25

_SHUFFLES = 999

#: A number with more values than this is cut into as many classes of equal size.
_CLASSES = 4


@dataclass(frozen=True, slots=True)
class AtEqualCost:
    """Trials of about the same cost.

    Attributes:
        trials: how many.
        cost_low: the cheapest, in base units.
        cost_high: the dearest.
        worst: lowest score.
        median: median score.
        best: highest score.
        std: standard deviation of the scores.
    """

    trials: int
    cost_low: float
    cost_high: float
    worst: float
    median: float
    best: float
    std: float


@dataclass(frozen=True, slots=True)
class Effect:
    """What one hyper-parameter explains.

    Attributes:
        key: its name.
        values: distinct values tried.
        explained: share of the scores' variance that lies between its values (eta squared).
        by_chance: that share if scores are shuffled, on average.
        beyond_chance: what is left of it: (explained - by_chance) / (1 - by_chance); 0 is nothing.
        p: share of shuffles that explain as much, of this key alone.
    """

    key: str
    values: int
    explained: float
    by_chance: float
    beyond_chance: float
    p: float


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """How a study's score depends on its hyper-parameters.

    Attributes:
        score: its name.
        trials: configurations with a score.
        at_equal_cost: levels of cost with at least three trials, cheapest first; empty if costs are
            unknown or all differ.
        pooled_std: standard deviation within levels of equal cost; nan without any.
        effects: most telling first.
        notes: what could not be told, and why.
    """

    score: str
    trials: int
    at_equal_cost: tuple[AtEqualCost, ...]
    pooled_std: float
    effects: tuple[Effect, ...]
    notes: tuple[str, ...] = ()


def of(study: Study, score: str | None = None, cost: str = "energy", seed: int = 0) -> Sensitivity:
    """Spread of the score at equal cost, and the effect of each hyper-parameter.

    Configurations are trials; scores are means over folds and seeds. The shuffles are drawn from
    ``seed``, so the same study says the same.

    Raises:
        Refusal: no scores, or fewer than ten trials.
        UsageError: an unknown cost, or which score is not clear.
    """
    name = score_name_of(study, score)
    spent, scores, hashes = curves.points(study, cost, name)
    if len(scores) < LEAST_TRIALS:
        raise Refusal(
            f"{len(scores)} trials are too few to tell what hyper-parameters do; "
            f"{LEAST_TRIALS} are needed"
        )
    notes: list[str] = []
    levels, pooled = _levels(spent, scores)
    if not levels:
        notes.append(
            f"the {cost} of the trials is unknown"
            if np.isnan(spent).all()
            else "no three trials cost about the same"
        )
    configs = curves.configs_of(study, hashes)
    found = [configs.get(h, {}) for h in hashes]
    rng = np.random.default_rng(seed)
    if len(scores) > MOST_TRIALS:
        drawn = rng.choice(len(scores), MOST_TRIALS, replace=False)
        scores, found = scores[drawn], [found[i] for i in drawn.tolist()]
        notes.append(f"the effects are of {MOST_TRIALS} trials drawn at random")
    effects = []
    for key in curves.varied_keys(study, hashes):
        classes = _classes([c.get(key) for c in found])
        size = len(set(classes.tolist()))
        if size > len(scores) // 2:
            notes.append(f"{key!r} has too many values for {len(scores)} trials")
            continue
        effects.append(_effect(key, classes, size, scores, rng))
    if len(effects) > 1:
        notes.append(
            f"each p is of one key alone; the smallest of {len(effects)} is small by chance "
            "more often"
        )
    effects.sort(key=lambda e: -e.beyond_chance)
    return Sensitivity(name, len(hashes), levels, pooled, tuple(effects), tuple(notes))


def _levels(
    spent: NDArray[np.float64], scores: NDArray[np.float64]
) -> tuple[tuple[AtEqualCost, ...], float]:
    known = np.flatnonzero(~np.isnan(spent) & (spent > 0))
    order = known[np.argsort(spent[known], kind="stable")]
    groups: list[list[int]] = []
    for i in order.tolist():
        if groups and spent[i] <= spent[groups[-1][0]] * SAME_COST:
            groups[-1].append(i)
        else:
            groups.append([i])
    out, squares, freedom = [], 0.0, 0
    for group in groups:
        if len(group) < 3:
            continue
        there = scores[group]
        squares += float(((there - there.mean()) ** 2).sum())
        freedom += len(group) - 1
        out.append(
            AtEqualCost(
                len(group), float(spent[group[0]]), float(spent[group[-1]]), float(there.min()),
                float(np.median(there)), float(there.max()), float(there.std(ddof=1)),
            )
        )  # fmt: skip
    return tuple(out), math.sqrt(squares / freedom) if freedom else math.nan


def _classes(values: Sequence[Any]) -> NDArray[np.int64]:
    """A class for each trial: its value, or for numbers of many values the quarter it lies in."""
    numbers = [v for v in values if isinstance(v, (int, float)) and not isinstance(v, bool)]
    if len(numbers) == len(values) and len(set(numbers)) > _CLASSES:
        told = np.array(numbers, float)
        edges = np.quantile(told, np.arange(1, _CLASSES) / _CLASSES)
        return np.searchsorted(edges, told, side="left").astype(np.int64)
    words = [json.dumps(v, sort_keys=True, default=str) for v in values]
    place = {w: i for i, w in enumerate(dict.fromkeys(words))}
    return np.array([place[w] for w in words], np.int64)


def _effect(
    key: str,
    classes: NDArray[np.int64],
    size: int,
    scores: NDArray[np.float64],
    rng: np.random.Generator,
) -> Effect:
    explained = float(_explained(classes, scores[None, :])[0])
    shuffled = rng.permuted(np.tile(scores, (_SHUFFLES, 1)), axis=1)
    chance = _explained(classes, shuffled)
    mean = float(chance.mean())
    beyond = (explained - mean) / (1.0 - mean) if mean < 1.0 else 0.0
    p = (1.0 + float((chance >= explained - 1e-12).sum())) / (1.0 + _SHUFFLES)
    return Effect(key, size, explained, mean, max(0.0, beyond), p)


def _explained(classes: NDArray[np.int64], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of each row's variance that lies between classes; 0 for rows without any."""
    off = scores - scores.mean(axis=1, keepdims=True)
    between = np.zeros(len(scores))
    for one in np.unique(classes):
        chosen = classes == one
        between += off[:, chosen].sum(axis=1) ** 2 / chosen.sum()
    whole = (off * off).sum(axis=1)
    share = np.zeros(len(scores))
    np.divide(between, whole, out=share, where=whole > 0)
    return share
