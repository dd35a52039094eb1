"""Regions: what is counted, where, in every way that Python can enter and leave a block."""

from __future__ import annotations

import asyncio
import inspect
import pickle
import threading
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import picojoule as pj


def tree(prof):
    return {"/".join(r.path): r.calls for r in prof.regions}


def test_nested_and_repeated():
    with pj.profile() as prof:
        for _ in range(3):
            with pj.region("outer"):
                with pj.region("inner"):
                    pass
                with pj.region("inner"):
                    pass
    assert tree(prof) == {"outer": 3, "outer/inner": 6}
    assert prof.regions["outer/inner"].depth == 1
    assert prof.regions["inner"] is prof.regions["outer/inner"]


def test_time_of_children_lies_within_the_parent():
    with pj.profile() as prof, pj.region("parent"):
        for _ in range(5):
            with pj.region("child"):
                time.sleep(0.002)
    parent, child = prof.regions["parent"], prof.regions["child"]
    assert 0.010 <= child.duration_s <= parent.duration_s <= prof.duration_s
    assert parent.self_s == pytest.approx(parent.duration_s - child.duration_s, abs=1e-9)


def test_recursion_counts_calls_and_the_outer_time_once():
    @pj.region("f")
    def f(n):
        time.sleep(0.001)
        return 0 if n == 0 else f(n - 1)

    with pj.profile() as prof:
        f(4)
    (region,) = prof.regions
    assert region.calls == 5
    assert region.duration_s <= prof.duration_s


def test_mutual_recursion_does_not_grow_the_tree():
    def a(n):
        with pj.region("a"):
            b(n)

    def b(n):
        with pj.region("b"):
            if n:
                a(n - 1)

    with pj.profile() as prof:
        a(50)
    assert tree(prof) == {"a": 51, "a/b": 51}


def test_exceptions_pass_through_and_close_what_they_leave():
    with pj.profile() as prof:
        for kind in (ValueError, KeyboardInterrupt, SystemExit, GeneratorExit):
            with pytest.raises(kind), pj.region("outer"), pj.region("inner"):
                raise kind
        with pj.region("after"):
            pass
    assert tree(prof) == {"outer": 4, "outer/inner": 4, "after": 1}
    assert all(r.open_at_end == 0 for r in prof.regions)


def test_an_exception_leaves_the_profile_usable():
    prof = pj.profile()
    with pytest.raises(KeyboardInterrupt), prof, pj.region("work"):
        raise KeyboardInterrupt
    assert prof.regions["work"].calls == 1


def test_threads_are_summed():
    def work():
        for _ in range(1000):
            with pj.region("w"):
                pass

    with pj.profile() as prof:
        threads = [threading.Thread(target=work) for _ in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    assert tree(prof) == {"w": 8000}


def test_overlapping_calls_in_threads_are_marked_concurrent():
    def work():
        with pj.region("w"):
            time.sleep(0.25)

    with pj.profile() as prof:
        threads = [threading.Thread(target=work) for _ in range(3)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    region = prof.regions["w"]
    assert region.concurrent
    assert region.duration_s > 2 * prof.duration_s  # counts each of them


def test_asyncio_tasks_have_stacks_of_their_own():
    async def work(name):
        with pj.region(name):
            await asyncio.sleep(0.002)
            with pj.region("inner"):
                await asyncio.sleep(0.002)

    async def main():
        with pj.region("main"):
            await asyncio.gather(work("x"), work("y"), work("x"))
            late = asyncio.create_task(work("late"))
        with pj.region("next"):
            await late

    with pj.profile() as prof:
        asyncio.run(main())
    assert tree(prof) == {
        "main": 1,
        "main/x": 2,
        "main/x/inner": 2,
        "main/y": 1,
        "main/y/inner": 1,
        "main/late": 1,  # where it was created, though "main" was left before it ran
        "main/late/inner": 1,
        "next": 1,
    }


def test_a_generator_and_its_consumer_interleave():
    def numbers():
        with pj.region("numbers"):
            yield from range(3)

    with pj.profile() as prof:
        it = numbers()
        next(it)
        with pj.region("consumer"):
            list(it)  # closes "numbers" while "consumer" is open
        with pj.region("after"):
            pass
    assert tree(prof) == {"numbers": 1, "numbers/consumer": 1, "after": 1}
    assert any("closed while a region opened inside" in w for w in prof.warnings)


def test_a_generator_handed_to_another_thread():
    def numbers():
        with pj.region("numbers"):
            yield 1

    with pj.profile() as prof:
        it = numbers()
        next(it)
        thread = threading.Thread(target=lambda: list(it))
        thread.start()
        thread.join()
    assert tree(prof) == {"numbers": 1}
    assert prof.regions["numbers"].open_at_end == 0


def test_region_open_at_the_end_is_said_so():
    left = pj.region("left open")
    with pj.profile() as prof:
        left.__enter__()
    assert prof.regions["left open"].open_at_end == 1
    left.__exit__(None, None, None)


def test_region_open_at_begin_counts_from_begin():
    with pj.region("around"):
        time.sleep(0.02)
        with pj.profile() as prof:
            time.sleep(0.01)
    region = prof.regions["around"]
    assert region.calls == 1
    assert region.duration_s == pytest.approx(prof.duration_s, rel=0.05)


def test_closed_without_being_open():
    region = pj.region("z")
    with pytest.raises(pj.UsageError, match="'z' is closed but was not open"):
        region.__exit__(None, None, None)
    with region:
        pass
    with pytest.raises(pj.UsageError, match="closed twice"):
        region.__exit__(None, None, None)


def test_closed_in_the_wrong_order_is_timed_right_and_warned_about():
    a, b = pj.region("a"), pj.region("b")
    with pj.profile() as prof:
        a.__enter__()
        b.__enter__()
        a.__exit__(None, None, None)
        b.__exit__(None, None, None)
    assert tree(prof) == {"a": 1, "a/b": 1}
    assert any("reverse order" in w for w in prof.warnings)


@pytest.mark.parametrize("bad", [None, 3, b"bytes", ["x"]])
def test_a_name_must_be_a_str(bad):
    with pytest.raises(TypeError, match="must be a str"):
        pj.region(bad)


def test_odd_names():
    names = ["", "ü \U0001f600", "a/b", "x" * 5000, "\ud800", "<script>", "nul\0nul"]
    with pj.profile() as prof:
        for name in names:
            with pj.region(name):
                pass
    assert len(prof.regions) == len(names)


# ---- decorators ----


@pj.region
def plain(x, *, y=1):
    """Doc."""
    return x + y


def test_plain_function():
    assert plain(1, y=2) == 3
    assert plain.__name__ == "plain"
    assert plain.__doc__ == "Doc."
    assert list(inspect.signature(plain).parameters) == ["x", "y"]
    assert pickle.loads(pickle.dumps(plain)) is plain
    with pj.profile() as prof, pytest.raises(TypeError):
        plain()
    assert tree(prof) == {"plain": 1}


class Model:
    @pj.region("call")
    def __call__(self, x):
        return x

    @pj.region("method")
    def method(self):
        return self

    @staticmethod
    @pj.region("static")
    def static():
        return 1

    @pj.region("class method")
    @classmethod
    def make(cls):
        return cls


def test_methods():
    model = Model()
    with pj.profile() as prof:
        assert model(5) == 5
        assert model.method() is model
        assert Model.static() == 1
        assert Model.make() is Model
    assert tree(prof) == {"call": 1, "method": 1, "static": 1, "class method": 1}


def test_a_class_is_refused_with_advice():
    with pytest.raises(TypeError, match="decorate its __call__"):

        @pj.region("c")
        class C:
            pass


def test_coroutine_function():
    @pj.region("work")
    async def work(x):
        await asyncio.sleep(0.001)
        return x

    assert inspect.iscoroutinefunction(work)
    with pj.profile() as prof:
        assert asyncio.run(work(4)) == 4
    assert prof.regions["work"].calls == 1


def test_generator_counts_its_own_time_and_keeps_the_protocol():
    log = []

    @pj.region("g")
    def generator():
        try:
            log.append((yield 1))
            yield 2
        except ValueError as error:
            log.append(error)
            yield 3
        finally:
            log.append("closed")
        return 9

    with pj.profile() as prof:
        it = generator()
        assert next(it) == 1
        time.sleep(0.05)
        assert it.send("sent") == 2
        assert it.throw(ValueError("v")) == 3
        with pytest.raises(StopIteration) as stop:
            next(it)
        assert stop.value.value == 9
        other = generator()
        next(other)
        other.close()
    assert log[0] == "sent"
    assert log[2:] == ["closed", "closed"]
    assert prof.regions["g"].calls == 6
    assert prof.regions["g"].duration_s < 0.04


def test_async_generator():
    closed = []

    @pj.region("ag")
    async def numbers():
        try:
            for i in range(3):
                await asyncio.sleep(0)
                yield i
        finally:
            closed.append(True)

    async def main():
        assert [i async for i in numbers()] == [0, 1, 2]
        it = numbers()
        assert await it.__anext__() == 0
        await it.aclose()

    with pj.profile() as prof:
        asyncio.run(main())
    assert closed == [True, True]
    assert prof.regions["ag"].calls == 6


# ---- properties ----

trees = st.recursive(
    st.just([]), lambda inner: st.lists(st.tuples(st.sampled_from("abcd"), inner), max_size=4)
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(trees)
def test_any_nesting_is_counted_right(nodes):
    expected: dict[tuple[str, ...], int] = {}

    def run(nodes, path):
        for name, inner in nodes:
            # A name among its ancestors is recursion: it is booked on that ancestor.
            own = path[: path.index(name) + 1] if name in path else (*path, name)
            expected[own] = expected.get(own, 0) + 1
            with pj.region(name):
                run(inner, own)

    with pj.profile() as prof:
        run(nodes, ())
    assert {r.path: r.calls for r in prof.regions} == expected
    assert all(0 <= r.self_s <= r.duration_s + 1e-9 for r in prof.regions)
    assert sum(r.duration_s for r in prof.regions if r.depth == 0) <= prof.duration_s


def test_a_profile_does_not_list_itself_nor_what_is_around_it():
    with pj.profile("outer") as outer, pj.region("a"), pj.profile("inner") as inner, pj.region("b"):
        pass
    assert tree(inner) == {"b": 1}
    assert tree(outer) == {"a": 1, "a/inner": 1, "a/inner/b": 1}
