"""Which score of a study is meant, and which way it is good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain, compress

from picojoule.errors import UsageError
from picojoule.green.model import Study
from picojoule.green.refusal import Refusal


def score_name_of(study: Study, score: str | None = None) -> str:
    """The score asked for, or the only one; of several, the one that the final runs tell.

    Raises:
        Refusal: the study has no scores.
        UsageError: it has several and none was named, or none of that name.
    """
    columns = study.columns
    scores: Sequence[Mapping[str, float]] = columns.column("scores")
    final = columns.names("role").being("final").tolist()
    names = dict.fromkeys(chain.from_iterable(scores))
    last = dict.fromkeys(chain.from_iterable(compress(scores, final)))
    if not names:
        raise Refusal(f"study {study.name!r} has no scores; tell them with prof.score(...)")
    if score is not None:
        if score not in names:
            raise UsageError(f"no run has a score {score!r}; there are: {', '.join(names)}")
        return score
    told = study.settings.get("score")
    if told in names:
        return str(told)
    for found in (names, last):
        if len(found) == 1:
            return next(iter(found))
    raise UsageError(f"which score? There are: {', '.join(names)}")


def larger_is_better_of(study: Study, name: str) -> bool:
    """Whether more of ``name`` is better; as the runs tell it, or the study's setting, else True.

    Raises:
        UsageError: runs contradict each other.
    """
    directions: Sequence[Mapping[str, bool]] = study.columns.column("score_larger_is_better")
    told = {larger[name] for larger in directions if name in larger}
    if len(told) > 1:
        raise UsageError(f"runs do not agree whether a larger {name!r} is better")
    if told:
        return told.pop()
    said = study.settings.get("larger_is_better")
    of_this = study.settings.get("score") in (None, "", name)
    return bool(said) if said is not None and of_this else True
