"""Runs in columns: a study of 100,000 of them is summed and drawn without making one.

Each column is read, decoded and turned into an array when it is first asked for.
"""

from __future__ import annotations

import contextlib
import gc
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Numbers = NDArray[np.float64]
#: (name of a field, which runs; None is all) -> that column.
Told = Callable[[str, Sequence[int] | None], Sequence[Any]]


class Names:
    """A column of names, each as the place of it among the few distinct ones."""

    def __init__(self, column: Sequence[str]) -> None:
        """Find the distinct names, in the order of their first appearance."""
        place: dict[str, int] = defaultdict(count().__next__)
        self.codes = np.fromiter(map(place.__getitem__, column), np.int64, len(column))
        self.distinct = tuple(place)

    def being(self, *names: str) -> Mask:
        """Which rows have one of those names."""
        if not self.distinct:
            return np.zeros(0, bool)
        return np.array([name in names for name in self.distinct])[self.codes]

    def counts(self, among: Mask) -> dict[str, int]:
        """How many of the rows ``among`` have each name, most first."""
        many = np.bincount(self.codes[among], minlength=len(self.distinct)).tolist()
        found = [(name, n) for name, n in zip(self.distinct, many, strict=True) if n]
        return dict(sorted(found, key=lambda f: -f[1]))

    def renamed(self, new: Callable[[str], str]) -> Names:
        """The same column, each name changed; two may become one."""
        words = Names([new(name) for name in self.distinct])
        out = Names(())
        out.codes, out.distinct = words.codes[self.codes], words.distinct
        return out

    def among(self, chosen: Mask) -> tuple[str, ...]:
        """The distinct names of the rows ``chosen``, in the order of their first appearance."""
        found, first = np.unique(self.codes[chosen], return_index=True)
        return tuple(self.distinct[i] for i in found[np.argsort(first)].tolist())


class Columns:
    """Fields of n runs. Columns must not be changed by who asks for them.

    Attributes:
        size: n.
        made: the runs themselves, where there are such.
    """

    def __init__(self, size: int, told: Told, made: Sequence[Any] | None = None) -> None:
        """``told`` tells a column, as often as it is asked."""
        self.size = size
        self.made = made
        self._told = told
        self._seen: dict[str, Sequence[Any]] = {}
        self._numbers: dict[str, Numbers] = {}
        self._names: dict[str, Names] = {}

    @classmethod
    def of_runs(cls, runs: Sequence[Any]) -> Columns:
        """The columns of runs that are there."""

        def told(name: str, at: Sequence[int] | None) -> Sequence[Any]:
            return list(map(attrgetter(name), runs if at is None else [runs[i] for i in at]))

        return cls(len(runs), told, runs)

    def column(self, name: str) -> Sequence[Any]:
        """Values of a field, one a run."""
        if name not in self._seen:
            self._seen[name] = self._told(name, None)
        return self._seen[name]

    def numbers(self, name: str) -> Numbers:
        """A field of numbers, float64, shape (n,); nan where unknown."""
        if name not in self._numbers:
            self._numbers[name] = np.array(self.column(name), np.float64).reshape(self.size)
        return self._numbers[name]

    def names(self, name: str) -> Names:
        """A field of words."""
        if name not in self._names:
            self._names[name] = Names(self.column(name))
        return self._names[name]

    def scores(self, name: str) -> Numbers:
        """The score of that name, shape (n,); nan where there is none."""
        key = f"scores.{name}"
        if key not in self._numbers:
            nan = float("nan")
            told = [scores.get(name, nan) for scores in self.column("scores")]
            self._numbers[key] = np.array(told, np.float64).reshape(self.size)
        return self._numbers[key]

    def at(self, name: str, where: Sequence[int]) -> Sequence[Any]:
        """Values of a field of the runs at these places."""
        if name in self._seen:
            seen = self._seen[name]
            return [seen[i] for i in where]
        return self._told(name, where)

    def where(self, chosen: Mask | Sequence[int]) -> Columns:
        """The columns of some runs: of a mask, or at places."""
        mask = isinstance(chosen, np.ndarray) and chosen.dtype == bool
        places: Any = np.flatnonzero(chosen) if mask else np.asarray(chosen, np.int64)
        if self.made is not None:
            made = self.made
            return Columns.of_runs([made[i] for i in places.tolist()])

        def told(name: str, at: Sequence[int] | None) -> Sequence[Any]:
            return self.at(name, (places if at is None else places[at]).tolist())

        return Columns(len(places), told)

    def with_columns(self, new: Mapping[str, Sequence[Any]]) -> Columns:
        """These columns, with others for some fields."""

        def told(name: str, at: Sequence[int] | None) -> Sequence[Any]:
            if name not in new:
                return self.column(name) if at is None else self.at(name, at)
            return new[name] if at is None else [new[name][i] for i in at]

        return Columns(self.size, told)

    def replaced(self, changed: Mapping[int, Any]) -> Columns:
        """These columns, with other runs in some places."""
        if not changed:
            return self

        def told(name: str, at: Sequence[int] | None) -> Sequence[Any]:
            if at is None:
                column = list(self.column(name))
                for i, run in changed.items():
                    column[i] = getattr(run, name)
                return column
            told = zip(at, self.at(name, at), strict=True)
            return [getattr(changed[i], name) if i in changed else value for i, value in told]

        return Columns(self.size, told)


@contextlib.contextmanager
def collector_held() -> Iterator[None]:
    """Keep the garbage collector from looking at 100,000 new objects again and again."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
