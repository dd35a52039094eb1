"""GPU kernels, end to end: a scripted CUPTI, beside a scripted NVML and a scripted CUDA.

The three are real shared objects under their real names, found by the loader; the product runs as
it does on a GPU.
"""

from __future__ import annotations

import shutil
import subprocess
import textwrap
from pathlib import Path
from typing import Any

import pytest

FAKES = Path(__file__).resolve().parents[1] / "fakes"

GPU = """
import asyncio

class Launch(ctypes.Structure):
    _fields_ = [
        ("kind", ctypes.c_uint32), ("call", ctypes.c_uint32), ("domain", ctypes.c_uint32),
        ("correlation", ctypes.c_uint32), ("name", ctypes.c_char_p), ("device", ctypes.c_uint32),
        ("context", ctypes.c_uint32), ("stream", ctypes.c_uint32), ("grid", ctypes.c_uint32 * 3),
        ("block", ctypes.c_uint32 * 3), ("static_shared", ctypes.c_uint32),
        ("dynamic_shared", ctypes.c_uint32), ("copy_kind", ctypes.c_uint32),
        ("bytes", ctypes.c_uint64), ("start", ctypes.c_uint64), ("end", ctypes.c_uint64),
        ("graph_node", ctypes.c_uint64),
    ]

def use_gpu(script=""):
    global cuda, cupti
    cuda = ctypes.CDLL("libcuda.so.1")
    cuda.fake_cuda_configure(b"fa4e0000000040008000000000000000")
    cupti = ctypes.CDLL("libcupti.so.13")
    cupti.fake_cupti_now.restype = ctypes.c_uint64
    cupti.fake_cupti_violations.restype = ctypes.c_char_p
    cupti.fake_cupti_configure(script.encode())

KEPT = {}  # a kernel's name stays where it is, as in a loaded module

def launch(name, ms=1.0, after_ms=0.0, stream=7, kind=10, call=307, domain=1, node=0, corr=0):
    now = cupti.fake_cupti_now() + int(after_ms * 1e6)
    text = KEPT.setdefault(name, name.encode())
    one = Launch(kind=kind, call=call, domain=domain, correlation=corr, name=text,
                 device=0, context=1, stream=stream, grid=(8, 1, 1), block=(128, 1, 1),
                 bytes=4096 if kind != 10 else 0, start=now, end=now + int(ms * 1e6),
                 graph_node=node)
    return cupti.fake_cupti_launch(ctypes.byref(one))

def table(prof):
    return {f"{'/'.join(k.region)}:{k.name}": [k.calls, k.time_s, k.energy_j] for k in prof.kernels}
"""


@pytest.fixture(scope="session")
def gpu_folder(nvml_folder: Path) -> Path:
    """The folder of the scripted NVML, with CUDA and CUPTI beside it."""
    compiler = shutil.which("cc")
    assert compiler is not None
    for source, name in (("fake_cuda_devices", "libcuda.so.1"), ("fake_cupti", "libcupti.so.13")):
        command = [compiler, "-shared", "-fPIC", "-O2", f"-Wl,-soname,{name}"]
        command += ["-o", str(nvml_folder / name), str(FAKES / f"{source}.c"), "-lpthread"]
        subprocess.run(command, check=True, timeout=120)
    return nvml_folder


@pytest.fixture
def gpu(nvml: Any, gpu_folder: Path) -> Any:
    """``gpu(code)``: run ``code`` where CUDA is in use."""

    def go(code: str, script: str = "wave=const;hi=300", timeout: float = 60, **env: str) -> Any:
        return nvml(GPU + textwrap.dedent(code), script, timeout, **env)

    return go


def test_kernels_have_regions_and_joules(gpu):
    said = gpu(
        """
        use_gpu()
        with pj.profile(sources=["nvml"]) as prof:
            with pj.region("step"):
                with pj.region("forward"):
                    launch("void gemm<float>(float*)", ms=400)
                    time.sleep(0.4)
                launch("copy", ms=5, kind=1, call=279)
                time.sleep(0.1)
            time.sleep(0.5)
        say(found=table(prof), total=prof.energy_j, status=pj._core.tracer_status(),
            devices=[[d.domain, d.busy_s, d.idle_s] for d in prof.kernels.devices],
            warnings=prof.warnings, violations=cupti.fake_cupti_violations().decode(),
            overhead=dict(prof.overhead), forward=prof.regions["step/forward"].energy_j)
        """
    )
    assert said.violations == ""
    calls, seconds, joules = said.found["step/forward:void gemm<float>(float*)"]
    assert calls == 1 and seconds == pytest.approx(0.4, rel=1e-3)
    assert joules == pytest.approx(120, rel=0.03)
    assert said.status["mode"] == "single"
    assert len(said.found) == 2 and all(k.startswith("step") for k in said.found)
    ((domain, busy, _idle),) = said.devices
    assert domain == "gpu:0" and busy == pytest.approx(0.405, rel=0.02)
    assert said.overhead["launches"] == 2 and said.overhead["kernels_unmatched"] == 0
    assert said.warnings == []


def test_each_thread_and_task_launches_for_its_own_region(gpu):
    said = gpu(
        """
        use_gpu()
        def worker(name):
            with pj.region(name):
                for _ in range(50):
                    launch("k_" + name, ms=0.1)
                    time.sleep(0.002)
        async def task(name):
            with pj.region(name):
                for _ in range(20):
                    launch("k_" + name, ms=0.1)
                    await asyncio.sleep(0.002)
        async def both():
            await asyncio.gather(task("a"), task("b"))
        with pj.profile(sources=["nvml"]) as prof:
            threads = [threading.Thread(target=worker, args=(n,)) for n in ("t1", "t2")]
            for t in threads: t.start()
            for t in threads: t.join()
            asyncio.run(both())
        say(found=table(prof))
        """
    )
    assert {k: v[0] for k, v in said.found.items()} == {
        "t1:k_t1": 50, "t2:k_t2": 50, "a:k_a": 20, "b:k_b": 20,
    }  # fmt: skip


def test_backward_threads_work_for_whoever_is_in_backward_now(gpu):
    # One worker for the whole run, as PyTorch's autograd has it: kernels of step 2 must not be
    # credited to step 0, in which the worker began.
    said = gpu(
        """
        import queue
        use_gpu()
        work, done = queue.Queue(), queue.Queue()
        def engine():
            while (name := work.get()) is not None:
                launch(name, ms=0.2)
                done.put(name)
        thread = threading.Thread(target=engine)
        thread.start()
        with pj.profile(sources=["nvml"]) as prof:
            for step in range(3):
                with pj.region(f"step_{step}"):
                    with pj.region("forward"):
                        launch("fwd", ms=0.2)
                    with pj.region("backward"):
                        work.put("bwd")
                        done.get()
                    launch("update", ms=0.2)
            work.put("between")
            done.get()
        work.put(None)
        thread.join()
        say(found=sorted(table(prof)))
        """
    )
    expected = [":between"]
    for step in range(3):
        expected += [f"step_{step}/backward:bwd", f"step_{step}/forward:fwd", f"step_{step}:update"]
    assert said.found == sorted(expected)


def test_graphs_run_below_their_launch_and_name_their_capture(gpu, tmp_path):
    said = gpu(
        """
        use_gpu()
        cupti.fake_cupti_graph_node.argtypes = [ctypes.c_uint64, ctypes.c_uint64]
        with pj.profile("train", sources=["nvml"], output="run.pj") as prof:
            with pj.region("warm up"):
                with pj.region("forward"):
                    launch("gemm", kind=0)  # captured: no record comes of it
                    cupti.fake_cupti_graph_node(1001, 0)
            with pj.region("decode"):
                for _ in range(20):
                    graph = launch("", kind=0, call=514)
                    launch("gemm", ms=1, call=0, corr=graph, node=1001)
                    launch("of an older graph", ms=1, call=0, corr=graph, node=7)
                    time.sleep(0.002)
        found = {"/".join(k.region) + ":" + k.name: [k.calls, k.captured] for k in prof.kernels}
        stored = {"/".join(k.region) + ":" + k.name: [k.calls, k.captured]
                  for k in pj.load("run.pj").kernels}
        say(found=found, stored=stored, regions=[r.path for r in prof.regions])
        """
    )
    assert said.found == said.stored
    assert said.found["decode/<captured>/warm up/forward:gemm"] == [20, True]
    assert said.found["decode:of an older graph"] == [20, True]
    assert ["<captured>"] not in [r[-1:] for r in said.regions]  # no region of the program's


def test_nested_profiles_and_late_kernels(gpu):
    said = gpu(
        """
        use_gpu("late_ms=30")
        with pj.profile(sources=["nvml"]) as outer:
            launch("first", ms=1)
            with pj.profile(sources=["nvml"]) as inner:
                time.sleep(0.01)
                launch("second", ms=1)
                launch("reaches over the end", ms=200)
                time.sleep(0.01)
            launch("third", ms=1)
            time.sleep(0.01)  # a kernel belongs to the profile in which it begins to run
        names = lambda prof: sorted(k.name for k in prof.kernels)
        say(outer=names(outer), inner=names(inner))
        """
    )
    assert said.inner == ["reaches over the end", "second"]
    assert said.outer == ["first", "reaches over the end", "second", "third"]


def test_the_trace_keeps_them_and_a_kill_does_not_lose_them(gpu, tmp_path):
    said = gpu(
        """
        use_gpu()
        with pj.profile(sources=["nvml"], output="run.pj") as prof:
            with pj.region("step"):
                for _ in range(10):
                    launch("gemm", ms=5)
                    time.sleep(0.01)
        live = table(prof)
        say(live=live, stored=table(pj.load("run.pj")), runs=len(pj.load("run.pj").kernels.runs))
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        """
    )
    assert said.live.keys() == said.stored.keys() == {"step:gemm"}
    assert said.stored["step:gemm"][0] == 10 and said.runs == 10
    gone = gpu(
        """
        use_gpu()
        import signal
        if os.fork() == 0:
            with pj.profile(sources=["nvml"], output="killed.pj") as prof:
                with pj.region("step"):
                    for _ in range(150):
                        launch("gemm", ms=5)
                        time.sleep(0.01)
                    os.kill(os.getpid(), signal.SIGKILL)
        os.wait()
        found = pj.load("killed.pj")
        say(found=table(found), warnings=found.warnings)
        """
    )
    assert gone.found["step:gemm"][0] >= 40  # what came with the flushes until a second before
    assert any("killed" in w for w in gone.warnings)


def test_a_refusal_is_one_sentence_and_a_profile_without_kernels(gpu):
    said = gpu(
        """
        use_gpu("refuse=39;holder=Kineto")
        with pj.profile(sources=["nvml"]) as prof:
            launch("gemm", ms=5)
            time.sleep(0.2)
        say(kernels=len(prof.kernels), status=pj._core.tracer_status(), joules=prof.energy_j,
            subscribes=cupti.fake_cupti_subscribe_calls())
        """
    )
    assert said.kernels == 0 and said.joules > 0
    assert said.status["mode"] == "overlay" and "Kineto" in said.status["words"]
    assert said.subscribes <= 2  # asked once, by either call; never in a loop


@pytest.mark.parametrize("kernels", ["'off'", "False", "'overlay'"])
def test_nothing_is_touched_where_nothing_is_wanted(gpu, kernels):
    said = gpu(
        f"""
        use_gpu()
        with pj.profile(sources=["nvml"], kernels={kernels}) as prof:
            launch("gemm", ms=5)
            time.sleep(0.1)
        say(kernels=len(prof.kernels), subscribes=cupti.fake_cupti_subscribe_calls())
        """
    )
    assert said.kernels == 0 and said.subscribes == 0


def test_sums_keep_no_single_kernels(gpu):
    said = gpu(
        """
        use_gpu()
        with pj.profile(sources=["nvml"], kernels="sums") as prof:
            with pj.region("step"):
                for _ in range(20):
                    launch("gemm", ms=4)
                    time.sleep(0.005)
        say(found=table(prof), spread=prof.kernels.devices[0].spread, runs=len(prof.kernels.runs))
        """
    )
    assert said.found["step:gemm"][0] == 20 and said.spread == "sums" and said.runs == 0


def test_nothing_is_left_after_the_profile(gpu):
    said = gpu(
        """
        use_gpu()
        with pj.profile(sources=["nvml"]) as prof:
            launch("gemm", ms=5)
        prof.energy_j
        during = [cupti.fake_cupti_subscribers(), cupti.fake_cupti_kinds()]
        time.sleep(3)
        say(during=during, after=[cupti.fake_cupti_subscribers(), cupti.fake_cupti_kinds()],
            watches=cupti.fake_cupti_watches(1, 307), out=cupti.fake_cupti_buffers_out(),
            violations=cupti.fake_cupti_violations().decode())
        """
    )
    assert said.during[0] == 1 and said.during[1] != 0
    assert said.after == [0, 0] and said.watches == 0 and said.out == 0
    assert said.violations == ""


def test_a_program_that_begins_to_use_the_gpu_inside_the_profile(gpu):
    said = gpu(
        """
        with pj.profile(sources=["nvml"]) as prof:
            time.sleep(0.1)
            use_gpu()
            until = time.monotonic() + 30
            while not cupti.fake_cupti_watches(1, 307) and time.monotonic() < until:
                time.sleep(0.02)
            with pj.region("late"):
                launch("gemm", ms=5)
            time.sleep(0.1)
        say(found=table(prof))
        """
    )
    assert said.found["late:gemm"][0] == 1


def test_a_bad_choice_of_kernels_is_refused():
    import picojoule as pj

    with pytest.raises(pj.UsageError, match="kernels must be one of all, sums, overlay, off"):
        pj.profile(kernels="some")
