"""The front against its definition."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picojoule.errors import UsageError
from picojoule.green import pareto

points = st.lists(
    st.tuples(st.integers(1, 9).map(float), st.integers(0, 9).map(float)), min_size=1, max_size=25
)


@settings(deadline=None)
@given(points, st.booleans())
def test_front_is_what_nothing_dominates(rows, larger):
    cost, score = (np.array(c) for c in zip(*rows, strict=True))
    gain = score if larger else -score
    found = set(pareto.front(cost, score, larger).tolist())
    kept = {(cost[i], gain[i]) for i in found}
    assert len(kept) == len(found)  # of equal points, one

    def dominated(i):
        no_worse = (cost <= cost[i]) & (gain >= gain[i])
        return bool((no_worse & ((cost < cost[i]) | (gain > gain[i]))).any())

    assert kept == {(cost[i], gain[i]) for i in range(len(cost)) if not dominated(i)}


def test_front_is_ordered_and_leaves_unknown_out():
    found = pareto.front([3, 1, math.nan, 2, 4], [0.9, 0.5, 1.0, math.nan, 0.8])
    assert found.tolist() == [1, 0]
    assert pareto.front([], []).tolist() == []
    assert pareto.front([1.0], [math.nan]).tolist() == []
    with pytest.raises(UsageError, match="two equal rows"):
        pareto.front([1, 2], [1])


def test_envelope_keeps_one_a_level_even_if_it_is_worse():
    cost = [1, 1.01, 10, 10.1, 100, 1000]
    score = [0.5, 0.6, 0.8, 0.7, 0.75, 0.9]
    assert pareto.envelope(cost, score).tolist() == [1, 2, 4, 5]
    assert pareto.front(cost, score).tolist() == [0, 1, 2, 5]
    assert pareto.envelope(cost, score, larger_is_better=False).tolist() == [0, 3, 4, 5]
