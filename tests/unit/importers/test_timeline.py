"""How ranges nest, and which region a kernel gets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picojoule.errors import TraceError
from picojoule.importers.timeline import (
    WAITING,
    Builder,
    Launch,
    Range,
    ThreadStack,
    triple,
    whole,
)


class Paths:
    def __init__(self):
        self.names = [()]

    def child(self, parent, name):
        path = (*self.names[parent], name)
        if path not in self.names:
            self.names.append(path)
        return self.names.index(path)


@st.composite
def trees(draw, begin=0, end=1000, depth=0):
    """Properly nested ranges, as (begin, end, the whole path)."""
    if depth == 4 or end - begin < 4:
        return []
    edges = sorted(draw(st.sets(st.integers(begin, end), max_size=6)))
    found = []
    for a, b in zip(edges[::2], edges[1::2], strict=False):
        name = draw(st.sampled_from("abc"))
        found.append((a, b, (name,)))
        # One that is exactly as long as its parent would be its equal; all others are inside.
        inner = draw(trees(begin=a, end=b - 1, depth=depth + 1))
        found += [(x, y, (name, *path)) for x, y, path in inner]
    return found


@given(tree=trees(), time=st.integers(-5, 1005), data=st.data())
def test_nested_ranges_get_their_path_in_any_order(tree, time, data):
    paths = Paths()
    mixed = data.draw(st.permutations(tree))
    stack = ThreadStack([Range(a, b, path[-1]) for a, b, path in mixed], paths.child)
    got = sorted((a, b, paths.names[p]) for a, b, p in stack.rows)
    assert got == sorted(tree)
    open_now = [path for a, b, path in tree if a <= time < b]
    expected = max(open_now, key=len, default=None)
    at = stack.at(time)
    assert (None if at is None else paths.names[at]) == expected


ranges = st.tuples(st.integers(0, 50), st.integers(0, 50), st.sampled_from("abcd"))


@given(st.lists(ranges, max_size=30), st.integers(-1, 110))
def test_any_ranges_are_booked_once_and_the_last_begun_wins(rows, time):
    # Distinct begins: which of two that begin together is the inner one is said by their ends.
    given_ranges = [Range(a, a + b, n) for a, b, n in {r[0]: r for r in rows}.values()]
    paths = Paths()
    stack = ThreadStack(given_ranges, paths.child)
    assert sorted((a, b) for a, b, _ in stack.rows) == sorted((r[0], r[1]) for r in given_ranges)
    open_now = [r for r in given_ranges if r.begin_ns <= time < r.end_ns]
    at = stack.at(time)
    if not open_now:
        assert at is None
    else:
        assert paths.names[at][-1] == max(open_now).name


def test_back_to_back_ranges_are_siblings_and_the_shared_instant_is_the_later_ones():
    paths = Paths()
    rows = [Range(0, 10, "a"), Range(10, 20, "b"), Range(10, 15, "c"), Range(5, 5, "empty")]
    stack = ThreadStack(rows, paths.child)
    assert [paths.names[p] for _, _, p in stack.rows] == [
        ("a",),
        ("a", "empty"),
        ("b",),
        ("b", "c"),
    ]
    assert [stack.at(t) for t in (-1, 20)] == [None, None]
    assert [paths.names[stack.at(t)] for t in (0, 5, 9, 10, 15)] == [
        ("a",),
        ("a",),
        ("a",),
        ("b", "c"),
        ("b",),
    ]


def test_backward_threads_get_the_region_that_waits_now():
    b = Builder("test")
    b.main_thread = 1
    for step in range(3):
        b.range(1, 100 * step, 100 * step + 90, f"step_{step}")
        b.range(1, 100 * step + 40, 100 * step + 80, "backward")
        b.range(2, 100 * step + 50, 100 * step + 60, "custom")
    b.backward(2)
    k = b.kernel_class("kernel", "k")
    t = b.track("gpu:0", "", 1, 7)
    for step in range(3):
        b.kernel(100 * step + 70, 100 * step + 75, k, t, Launch(2, 100 * step + 45))
        b.kernel(100 * step + 80, 100 * step + 85, k, t, Launch(2, 100 * step + 55))
    got = b.finish("relative")
    assert [got.path_names(p) for p in got.kernels["path"][::2]] == [
        (f"step_{n}", "backward") for n in range(3)
    ]
    assert set(got.kernels["flags"][::2]) == {WAITING}
    # A range inside the backward pass lies below what waits for it.
    assert got.path_names(got.kernels["path"][1]) == ("step_0", "backward", "custom")


def test_the_forward_thread_decides_between_several_that_wait():
    b = Builder("test")
    for thread, name in ((1, "replica_1"), (2, "replica_2")):
        b.range(thread, 0, 100, name)
    b.backward(3, 0, 1)
    b.backward(3, 50, 2)
    b.backward(4)
    for n, launch in enumerate((Launch(3, 10), Launch(3, 60), Launch(4, 10))):
        b.kernel(n, n + 1, 0, 0, launch)
    got = b.finish("relative")
    names = [got.path_names(p) for p in got.kernels["path"]]
    assert names == [("replica_1",), ("replica_2",), ()]
    assert any("several waiting threads" in n for n in got.notes)


def test_impossible_times_are_counted():
    b = Builder("test")
    b.kernel(10, 5, 0, 0, None)
    b.kernel(10, 0, 0, 0, None)
    b.kernel(1 << 63, 1 << 63, 0, 0, None)
    b.kernel(1, 2, 0, 0, None)
    b.range(1, 5, 4, "x")
    got = b.finish("relative")
    assert len(got.kernels) == 1 and not len(got.spans)
    assert len([n for n in got.notes if n.startswith("1 kernels")]) == 3
    assert "1 of 1 kernels have no launch in the file" in " ".join(got.notes)


def test_more_tracks_than_a_file_can_have():
    b = Builder("test")
    for n in range(1 << 16):
        b.track("gpu:0", "", 0, n)
    with pytest.raises(TraceError, match="streams"):
        b.track("gpu:0", "", 0, 1 << 16)


def test_times_are_moved_to_monotonic():
    b = Builder("test")
    b.kernel(10, 20, 0, 0, None)
    b.range(1, 5, 25, "x")
    got = b.finish("realtime", 1000)
    assert got.offset_ns is None and got.kernels["begin_ns"][0] == 1010
    moved = got.on_monotonic(-1000)
    assert moved.clock == "monotonic" and moved.offset_ns == 0
    assert moved.kernels["end_ns"][0] == 20 and moved.spans["begin_ns"][0] == 5
    assert got.kernels["begin_ns"][0] == 1010


def test_numbers_of_any_kind():
    assert whole("12") == 12 and whole(None, 7) == 7 and whole(True, 3) == 3
    assert whole(float("inf")) == 0 and whole([1]) == 0
    assert triple([1, "2", None]) == (1, 2, 0) and triple([1]) == (0, 0, 0)
