"""``pj.profile``: every way to enter and to leave one, and what it answers meanwhile."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import math
import pkgutil
import subprocess
import sys
import threading
import time
import warnings

import pytest

import picojoule as pj

QUICK = {"sources": ["cpu_estimate"]}


def test_measures_once():
    prof = pj.profile(**QUICK)
    with prof, pytest.raises(pj.UsageError, match="entered already"), prof:
        pass
    with pytest.raises(pj.UsageError, match="Make a new one"), prof:
        pass
    assert prof.finished and prof.duration_s > 0


def test_never_entered():
    prof = pj.profile("idle", **QUICK)
    assert not prof.finished
    assert repr(prof) == str(prof) == "<picojoule.profile 'idle': not entered>"
    assert prof._repr_html_() is None
    for look in ("result", "energy_j", "duration_s", "regions", "readings", "warnings", "total"):
        with pytest.raises(pj.NotFinishedError, match="never entered"):
            getattr(prof, look)
    with pytest.raises(pj.NotFinishedError):
        prof.snapshot()
    with pytest.raises(pj.UsageError, match="never entered"):
        prof.__exit__(None, None, None)


def test_while_open():
    with pj.profile("open", **QUICK) as prof:
        with pj.region("before"):
            time.sleep(0.01)
        assert repr(prof) == str(prof) == "<picojoule.profile 'open': open>"
        with pytest.raises(pj.NotFinishedError, match="snapshot"):
            _ = prof.result
        early = prof.snapshot()
        assert early.duration_s >= 0.01
        assert early.regions["before"].calls == 1
        with pj.region("after"):
            pass
        assert "after" in prof.snapshot().regions
    assert "after" not in early.regions  # a snapshot is a value
    assert early.duration_s < prof.duration_s
    assert prof.snapshot().duration_s == prof.duration_s


def test_words_of_a_result():
    with pj.profile("words", **QUICK) as prof:
        sum(range(200_000))
    assert repr(prof).startswith("<picojoule.profile 'words': ") and repr(prof).endswith(" s>")
    assert str(prof) == str(prof.result) and "cpu" in str(prof)
    assert prof._repr_html_()
    assert prof.result is prof.result
    assert prof.energy_j == prof.result.energy_j == prof.total.joules
    assert prof.energy.keys() == {"cpu"}


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_exceptions_pass(kind):
    prof = pj.profile("fails", **QUICK)
    with pytest.raises(kind), prof:
        raise kind
    assert prof.finished and math.isfinite(prof.duration_s)


def test_async_with():
    async def main():
        async with pj.profile("async", **QUICK) as prof:
            await asyncio.sleep(0.01)
        return prof

    assert asyncio.run(main()).duration_s >= 0.01


# ---- decorated ----


def test_plain_function():
    @pj.profile
    def work(x, *, y=1):
        """Doc."""
        return x + y

    assert work.last_profile is None
    assert work(1, y=2) == 3
    first = work.last_profile
    assert first.finished and "work" in first.name
    assert work(2) == 3
    assert work.last_profile is not first
    assert work.__name__ == "work" and work.__doc__ == "Doc."
    assert list(inspect.signature(work).parameters) == ["x", "y"]


def test_options_and_name():
    @pj.profile("named", rate_hz=50, **QUICK)
    def work():
        with pj.region("inside"):
            return 7

    assert work() == 7
    assert work.last_profile.name == "named"
    assert [r.name for r in work.last_profile.regions] == ["inside"]


def test_a_failing_function_is_measured_all_the_same():
    @pj.profile(**QUICK)
    def work():
        raise LookupError

    with pytest.raises(LookupError):
        work()
    assert work.last_profile.finished


def test_recursion():
    profiles = []

    @pj.profile(**QUICK)
    def count_down(n):
        profiles.append(count_down.last_profile)
        return n if n == 0 else count_down(n - 1)

    assert count_down(3) == 0
    assert len(set(map(id, profiles))) == 4
    durations = [p.duration_s for p in profiles]
    assert durations == sorted(durations, reverse=True)


def test_coroutine():
    @pj.profile(**QUICK)
    async def work(x):
        await asyncio.sleep(0.01)
        return x

    assert inspect.iscoroutinefunction(work)
    assert asyncio.run(work(3)) == 3
    assert work.last_profile.duration_s >= 0.01


def test_concurrent_coroutines():
    profiles = []

    @pj.profile(**QUICK)
    async def work():
        profiles.append(work.last_profile)
        await asyncio.sleep(0.02)

    async def main():
        await asyncio.gather(*(work() for _ in range(3)))

    asyncio.run(main())
    assert len(set(map(id, profiles))) == 3
    assert all(p.duration_s >= 0.02 for p in profiles)


def test_generator():
    @pj.profile(**QUICK)
    def numbers():
        got = yield 1
        try:
            yield got
        except KeyError:
            yield "caught"
        return "returned"

    assert inspect.isgeneratorfunction(numbers)
    one = numbers()
    assert next(one) == 1
    assert not numbers.last_profile.finished  # open until it is exhausted
    assert one.send("sent") == "sent"
    assert one.throw(KeyError()) == "caught"
    with pytest.raises(StopIteration) as stop:
        next(one)
    assert stop.value.value == "returned"
    assert numbers.last_profile.finished

    closed = numbers()
    next(closed)
    closed.close()
    assert numbers.last_profile.finished


def test_async_generator():
    ended = []

    @pj.profile(**QUICK)
    async def numbers():
        try:
            got = yield 1
            yield got
        finally:
            ended.append(True)

    async def main():
        one = numbers()
        assert await anext(one) == 1
        assert await one.asend("sent") == "sent"
        await one.aclose()
        return [x async for x in numbers()]

    assert inspect.isasyncgenfunction(numbers)
    assert asyncio.run(main()) == [1, None]
    assert ended == [True, True] and numbers.last_profile.finished


def test_methods():
    class Thing:
        factor = 2

        @pj.profile(**QUICK)
        def plain(self, x):
            return self.factor * x

        @staticmethod
        @pj.profile(**QUICK)
        def inner_static(x):
            return x

        @pj.profile(**QUICK)
        @staticmethod
        def outer_static(x):
            return x

        @pj.profile(**QUICK)
        @classmethod
        def outer_class(cls, x):
            return cls.factor * x

        @pj.profile(**QUICK)
        def __call__(self, x):
            return x + self.factor

    thing = Thing()
    assert thing(5) == 7 and Thing.__call__.last_profile.finished
    assert thing.plain(3) == 6 and Thing.plain(thing, 4) == 8
    assert thing.plain.last_profile.finished
    assert thing.inner_static(1) == Thing.outer_static(1) == 1
    assert Thing.outer_class(2) == thing.outer_class(2) == 4
    for name in ("inner_static", "outer_static", "outer_class"):
        assert getattr(Thing, name).last_profile.finished


def test_a_class_is_no_function():
    with pytest.raises(TypeError, match="is a class"):

        @pj.profile(**QUICK)
        class Thing:
            pass


def test_function_and_options_at_once():
    with pytest.raises(TypeError, match="no other argument"):
        pj.profile(len, rate_hz=3)
    with pytest.raises(TypeError, match="must be a str"):
        pj.profile(b"bytes")


def test_calls_number_their_output(tmp_path):
    @pj.profile(output=tmp_path / "run.pj", **QUICK)
    def work():
        pass

    for _ in range(3):
        work()
        _ = work.last_profile.result
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run-2.pj", "run-3.pj", "run.pj"]
    assert all("work" in pj.load(p).name for p in tmp_path.iterdir())


def test_output_that_exists_is_left_alone(tmp_path):
    (tmp_path / "run.pj").mkdir()
    with pytest.raises(FileExistsError), pj.profile(output=tmp_path / "run.pj", **QUICK):
        pass
    assert list((tmp_path / "run.pj").iterdir()) == []


def test_a_bad_source_leaves_no_output(tmp_path):
    with pytest.raises(pj.UsageError), pj.profile(output=tmp_path / "run.pj", sources=["nope"]):
        pass
    assert list(tmp_path.iterdir()) == []


# ---- several at once ----


def test_overlapping():
    first, second = pj.profile("first", **QUICK), pj.profile("second", **QUICK)
    first.__enter__()
    time.sleep(0.02)
    second.__enter__()
    time.sleep(0.02)
    first.__exit__(None, None, None)
    time.sleep(0.02)
    second.__exit__(None, None, None)
    assert first.result.begin_ns < second.result.begin_ns < first.result.end_ns
    assert first.result.end_ns < second.result.end_ns
    assert first.duration_s >= 0.04 and second.duration_s >= 0.04


def test_nested():
    with pj.profile("outer", **QUICK) as outer:
        for _ in range(2):
            with pj.profile("inner", **QUICK) as inner, pj.region("work"):
                pass
    assert inner.regions["work"].calls == 1
    assert outer.regions["inner"].calls == 2
    assert outer.regions["inner/work"].calls == 2
    assert outer.result.begin_ns < inner.result.begin_ns <= inner.result.end_ns
    assert inner.result.end_ns < outer.result.end_ns


def test_a_profile_in_each_thread():
    found, errors = {}, []
    gate = threading.Barrier(4)

    def work(number):
        try:
            gate.wait(30)
            with pj.profile(f"thread {number}", **QUICK) as prof:
                time.sleep(0.01 * (number + 1))
            found[number] = prof.result
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert errors == []
    assert [found[n].name for n in range(4)] == [f"thread {n}" for n in range(4)]
    assert all(found[n].duration_s >= 0.01 * (n + 1) for n in range(4))


def test_left_by_another_thread():
    prof = pj.profile("moved", **QUICK)
    prof.__enter__()
    thread = threading.Thread(target=prof.__exit__, args=(None, None, None))
    thread.start()
    thread.join(30)
    assert prof.finished and prof.duration_s > 0


# ---- absurd arguments ----


@pytest.mark.parametrize(
    "rate", [0, -1, math.nan, math.inf, -math.inf, 1e9, 5001, "x", [], object()]
)
def test_bad_rates(rate):
    with pytest.raises(pj.UsageError, match="rate_hz"):
        pj.profile(rate_hz=rate)


def test_the_fastest_rate_is_taken():
    with pj.profile(rate_hz=5000, **QUICK) as prof:
        sum(range(1_000_000))
    assert prof.overhead["polls"] > 0 and len(prof.readings) > 0


@pytest.mark.parametrize("sources", [[], "", [""], [None], [1], 5, {}])
def test_bad_sources(sources):
    with pytest.raises(pj.UsageError, match="sources must be"):
        pj.profile(sources=sources)


@pytest.mark.parametrize("source", ["nope", "NVML", "nope:argument"])
def test_unknown_sources(source):
    with pytest.raises(pj.UsageError, match=r"there are: .*nvml.*rapl"):
        pj.profile(sources=[source]).__enter__()


def test_replay_needs_a_trace(tmp_path):
    with pytest.raises(pj.UsageError, match="replay needs a trace"):
        pj.profile(sources=["replay"]).__enter__()
    with pytest.raises((pj.TraceError, OSError)):
        pj.profile(sources=[f"replay:{tmp_path / 'nothing.pj'}"]).__enter__()


def test_a_string_names_one_source():
    with pj.profile(sources="cpu_estimate") as prof:
        pass
    assert list(prof.energy) == ["cpu"]


# ---- the package ----


def test_names_survive_the_import_of_every_submodule():
    for module in pkgutil.walk_packages(pj.__path__, "picojoule."):
        if module.name.endswith(("__main__", "._launch")):  # programs, not modules
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of optional packages
            try:
                importlib.import_module(module.name)
            except pj.MissingExtraError:
                continue
    assert callable(pj.profile) and callable(pj.region)
    assert callable(pj.load) and callable(pj.doctor)
    assert inspect.isclass(pj.Profile)


def test_everything_public_is_listed_and_there():
    assert dir(pj) == sorted(pj.__all__)
    assert len(set(pj.__all__)) == len(pj.__all__)
    for name in pj.__all__:
        assert getattr(pj, name) is not None
    assert set(pj._LAZY) < set(pj.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = pj.nonsense


def test_import_is_light():
    code = (
        "import sys, picojoule\n"
        "heavy = {'numpy', 'nanoarrow', 'asyncio', 'pyarrow', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "import threading; assert threading.active_count() == 1"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
