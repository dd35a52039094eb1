"""What a region and a profile cost, beside what they are compared with.

    pip install '.[bench]' && pytest benchmarks/test_hot_path.py --benchmark-group-by=group

Each benchmark asserts its answer, so it is a test of the product too; its timing is not.
"""

from __future__ import annotations

import threading

import pytest
from support import FakeNvml

import picojoule as pj


@pytest.mark.benchmark(group="region")
def test_uncontended_lock(benchmark):
    lock = threading.Lock()

    def thousand():
        for _ in range(1000):
            with lock:
                pass

    benchmark(thousand)
    assert not lock.locked()


@pytest.mark.benchmark(group="region")
def test_region(benchmark):
    region = pj.region

    def thousand():
        for _ in range(1000):
            with region("x"):
                pass

    with pj.profile(sources=["cpu_estimate"]) as prof:
        benchmark(thousand)
    assert prof.regions["x"].calls % 1000 == 0


@pytest.mark.benchmark(group="region")
def test_region_nested_in_ten(benchmark):
    region = pj.region
    outer = [pj.region(f"level {i}") for i in range(10)]

    def thousand():
        for _ in range(1000):
            with region("x"):
                pass

    with pj.profile(sources=["cpu_estimate"]) as prof:
        for one in outer:
            one.__enter__()
        benchmark(thousand)
        for one in reversed(outer):
            one.__exit__(None, None, None)
    assert prof.regions["x"].depth == 10


@pytest.mark.benchmark(group="region")
def test_decorated_call(benchmark):
    @pj.region("f")
    def f():
        pass

    def thousand():
        for _ in range(1000):
            f()

    with pj.profile(sources=["cpu_estimate"]) as prof:
        benchmark(thousand)
    assert prof.regions["f"].calls % 1000 == 0


@pytest.fixture(scope="module")
def fake():
    return FakeNvml("latency_us=20;tick_ms=100")


@pytest.mark.benchmark(group="window on a 20 us NVML")
def test_profile_window(benchmark, fake):
    """The user's thread makes no device call; the sampler makes them."""
    with pj.profile(sources=["nvml"]):
        pass  # the meter is open from here on
    mine = threading.get_native_id()
    before = fake.library.fake_nvml_calls_by_thread(mine)

    def window():
        with pj.profile(sources=["nvml"]):
            pass

    benchmark(window)
    assert fake.library.fake_nvml_calls_by_thread(mine) == before
    assert fake.library.fake_nvml_calls() > 0


@pytest.mark.filterwarnings("ignore")  # it warns of 0 J: shorter than a tick
@pytest.mark.benchmark(group="window on a 20 us NVML")
def test_zeus_window(benchmark, fake, monkeypatch):
    """Zeus's begin_window and end_window on the same board, without its device synchronisation."""
    monitors = pytest.importorskip("zeus.monitor", reason="pip install '.[bench]' brings Zeus")
    monitor = monitors.ZeusMonitor(gpu_indices=[0], cpu_indices=[], sync_execution_with="torch")

    def window():
        monitor.begin_window("w", sync_execution=False)
        return monitor.end_window("w", sync_execution=False)

    benchmark(window)
    assert window().gpu_energy[0] >= 0
