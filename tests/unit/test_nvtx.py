"""NVTX ranges as regions: a C library that marks them, with and without the GIL, and in threads."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

import picojoule as pj
from picojoule import _core

SOURCE = Path(__file__).parents[1] / "fakes" / "fake_nvtx_client.c"
QUICK = {"sources": ["cpu_estimate"]}


def headers():
    """Folders of NVIDIA's own NVTX headers on this machine."""
    roots = [os.environ.get("CUDA_HOME", ""), *map(str, Path("/usr/local").glob("cuda*"))]
    return [p for r in roots if r for p in [Path(r, "include")] if (p / "nvtx3").is_dir()]


@pytest.fixture(scope="module", params=["own", "headers"])
def library(request, tmp_path_factory):
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler")
    flags = []
    if request.param == "headers":
        if not headers():
            pytest.skip("NVIDIA's NVTX headers are not installed")
        flags = ["-DNVTX_HEADERS", f"-I{headers()[0]}"]
    out = tmp_path_factory.mktemp("nvtx") / f"libclient_{request.param}.so"
    words = [compiler, "-std=gnu11", "-shared", "-fPIC", "-pthread", *flags, str(SOURCE)]
    subprocess.run([*words, "-o", str(out), "-ldl"], check=True)
    return out


@pytest.fixture(params=[ctypes.CDLL, ctypes.PyDLL], ids=["no-gil", "gil"])
def client(request, library):
    lib = request.param(str(library))
    lib.push.argtypes = lib.push_event.argtypes = lib.start.argtypes = [ctypes.c_char_p]
    lib.push_wide.argtypes = [ctypes.c_wchar_p]
    lib.start.restype = lib.domain_start.restype = ctypes.c_uint64
    lib.end.argtypes = lib.end_in_thread.argtypes = [ctypes.c_uint64]
    lib.end_in_thread.restype = lib.end.restype = lib.domain_end.restype = None
    lib.domain.argtypes = [ctypes.c_char_p]
    lib.domain.restype = lib.string.restype = ctypes.c_void_p
    lib.string.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    lib.domain_push.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    lib.domain_pop.argtypes = [ctypes.c_void_p]
    lib.domain_start.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    lib.domain_end.argtypes = [ctypes.c_void_p, ctypes.c_uint64]
    lib.run_threads.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_int, ctypes.c_int]
    return lib


def tree(prof):
    return {"/".join(r.path): r.calls for r in prof.regions}


def test_the_library_finds_us(client):
    before = _core.nvtx_clients()
    assert client.pop() < 0  # nothing to pop, and the first call of a fresh library
    assert _core.nvtx_clients() >= max(before, 1)


def test_ranges_and_regions_are_each_others_parents(client):
    with pj.profile(**QUICK) as prof, pj.region("outer"):
        for _ in range(3):
            assert client.push(b"range") == 0
            with pj.region("inner"):
                assert client.push_event(b"deep") == 1
                assert _core.current_path() == ("outer", "range", "inner", "deep")
                assert client.pop() == 1
            assert client.pop() == 0
    assert tree(prof) == {
        "outer": 1,
        "outer/range": 3,
        "outer/range/inner": 3,
        "outer/range/inner/deep": 3,
    }
    for region in prof.regions:
        assert region.open_at_end == 0
        assert 0 < region.duration_s <= prof.duration_s


def test_names_of_every_kind(client):
    with pj.profile(**QUICK) as prof:
        client.push_wide("wide ∑ 🙂")
        client.pop()
        client.push("bytes ∑".encode())
        client.pop()
        client.push(b"not \xff utf-8 \xed\xa0\x80")
        client.pop()
        client.push_event(None)
        client.pop()
        d = client.domain(b"NCCL")
        assert client.domain(b"NCCL") == d  # a name is one domain, whoever makes it
        client.domain_push(d, b"all", None)
        client.domain_pop(d)
        client.domain_push(d, None, client.string(d, b"registered"))
        client.domain_pop(d)
    assert tree(prof) == {
        "wide ∑ 🙂": 1,
        "bytes ∑": 1,
        "not ? utf-8 ???": 1,
        "(unnamed range)": 1,
        "NCCL:all": 1,
        "NCCL:registered": 1,
    }


def test_a_pop_takes_the_innermost_range_of_its_own_domain(client):
    d = client.domain(b"D")
    with pj.profile(**QUICK) as prof:
        assert client.push(b"a") == 0
        assert client.domain_push(d, b"b", None) == 0
        assert client.pop() == 0  # a, though b was opened later
        assert _core.current_path() == ("a", "D:b")
        assert client.pop() < 0
        assert client.domain_pop(d) == 0
        assert _core.current_path() == ()
    assert tree(prof) == {"a": 1, "a/D:b": 1}
    assert all(r.open_at_end == 0 for r in prof.regions)


def test_a_pop_never_closes_a_region(client):
    with pj.profile(**QUICK) as prof, pj.region("mine"):
        assert client.pop() < 0
        assert _core.current_path() == ("mine",)
    assert tree(prof) == {"mine": 1}


def test_a_range_left_open_does_not_confuse_regions(client):
    with pj.profile(**QUICK) as prof:
        with pj.region("outer"), pj.region("inner"):
            client.push(b"left")
        with pj.region("next"):
            time.sleep(0.005)
        assert client.pop() == 0
        with pj.region("after"):
            pass
    calls = tree(prof)
    assert calls == {
        "outer": 1,
        "outer/inner": 1,
        "outer/inner/left": 1,
        "outer/inner/left/next": 1,
        "after": 1,
    }
    assert prof.regions["left"].duration_s >= 0.005  # until its own end, not its region's
    assert all(r.open_at_end == 0 for r in prof.regions)


def test_ranges_across_the_edges_of_profiles_stay_balanced(client):
    client.push(b"before")
    with pj.profile(**QUICK) as one:
        client.push(b"in")
        client.pop()
        assert client.pop() == 0  # of "before", which was not seen
        client.push(b"out")
    assert tree(one) == {"in": 1, "out": 1}
    assert one.regions["out"].open_at_end == 1
    assert client.pop() == 0  # nobody wants annotations now; what was opened is closed all the same
    assert _core.current_path() == ()
    client.push(b"unseen")
    assert _core.current_path() == ()
    client.pop()
    with pj.profile(**QUICK) as two, pj.region("r"):
        pass
    assert tree(two) == {"r": 1}


def test_recursion_counts_its_time_once(client):
    with pj.profile(**QUICK) as prof:
        for _ in range(4):
            client.push(b"f")
        for _ in range(4):
            client.pop()
    (region,) = prof.regions
    assert region.calls == 4
    assert region.duration_s <= prof.duration_s


@pytest.mark.parametrize("leave_open", [0, 1])
def test_threads_that_python_does_not_know(client, leave_open):
    with pj.profile(**QUICK) as prof, pj.region("main"):
        assert client.run_threads(b"worker", 4, 500, leave_open) == 4
        assert _core.current_path() == ("main",)
    calls = tree(prof)
    assert calls == {"main": 1, "worker": 2000 + 4 * leave_open, "worker/inner": 2000}
    assert prof.regions["worker"].open_at_end == 0  # closed with its thread


def test_ranges_that_overlap(client):
    d = client.domain(b"D")
    with pj.profile(**QUICK) as prof, pj.region("step"):
        a, b = client.start(b"request"), client.start(b"request")
        c = client.domain_start(d, b"copy")
        assert len({a, b, c, 0}) == 4
        assert _core.current_path() == ("step",)  # no stack is touched
        client.end(a)
        client.end_in_thread(b)
        client.domain_end(d, c)
        client.end(c)  # twice: ignored
        client.end(12345678)
    assert tree(prof) == {"step": 1, "step/request": 2, "step/D:copy": 1}
    step, request = prof.regions["step"], prof.regions["request"]
    assert 0 < request.duration_s <= step.duration_s  # the union of both calls
    assert all(r.open_at_end == 0 for r in prof.regions)


def test_a_range_outlives_its_profile(client):
    with pj.profile(**QUICK) as one:
        r = client.start(b"long")
    client.end(r)
    with pj.profile(**QUICK) as two:
        pass
    assert one.regions["long"].open_at_end == 1
    assert tree(two) == {}


def test_opting_out(client):
    with pj.profile(**QUICK, annotations=False) as prof:
        assert client.push(b"range") == 0
        assert client.start(b"range") == 0
        assert client.pop() == 0
    assert tree(prof) == {}
    with pytest.raises(pj.UsageError, match="annotations"):
        pj.profile(annotations="yes")


def test_tasks_that_take_turns(client):
    import asyncio

    async def work(name):
        with pj.region(name):
            client.push(b"range")
            await asyncio.sleep(0)
            path = _core.current_path()
            client.pop()
            return path

    async def main():
        return await asyncio.gather(work("one"), work("two"))

    with pj.profile(**QUICK) as prof:
        asyncio.run(main())
        with pj.region("after"):
            pass
    # NVTX knows threads, not tasks: which task's range a pop ends is the program's own affair. What
    # counts is that nothing stays open, and that regions are as they were.
    calls = tree(prof)
    assert calls["one"] == calls["two"] == calls["after"] == 1
    assert sum(n for path, n in calls.items() if path.endswith("range")) == 2
    assert all(r.open_at_end == 0 for r in prof.regions)


@pytest.mark.filterwarnings("ignore:os.fork")  # JAX's, where another test has loaded it
def test_a_fork_inside_ranges(client):
    with pj.profile(**QUICK):
        client.push(b"parent")
        r = client.start(b"running")
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                client.end(r)
                with pj.profile(**QUICK) as prof:
                    s = client.start(b"child")
                    assert client.push(b"in") == 1
                    client.pop()
                    client.end(s)
                calls = tree(prof)
                status = 0 if calls.get("parent/child") == 1 == calls.get("parent/in") else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        client.end(r)
        client.pop()


def run_python(code, **environment):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("NVTX_", "PICOJOULE_NVTX"))}
    env |= {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p), **environment}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("given", "ours"),
    [
        ({}, True),
        ({"NVTX_INJECTION64_PATH": "/opt/tool/libinjection.so"}, False),
        ({"NVTX_INJECTION64_PATH": "/other/picojoule/_core.cpython-311.so"}, True),
        ({"PICOJOULE_NVTX": "0"}, False),
    ],
)
def test_the_environment(given, ours):
    code = """
        import json, os, picojoule
        doctor = picojoule.doctor()
        assert doctor.to_dict()["nvtx"] == doctor.nvtx
        told = "NVTX ranges: not seen" in str(doctor)
        print(json.dumps([os.environ.get("NVTX_INJECTION64_PATH"), picojoule._core.__file__, told]))
    """
    found, core, told = run_python(code, **given)
    assert told is not ours  # the doctor says why
    assert found == (core if ours else given.get("NVTX_INJECTION64_PATH"))


def test_a_program_without_python_goes_on(library, tmp_path):
    """Our library cannot be loaded there; NVTX turns itself off, as without a tool."""
    main = tmp_path / "main.c"
    main.write_text(
        "int push(const char*); int pop(void);\n"
        'int main(void) { return push("x") < 0 && pop() < 0 ? 0 : 1; }\n'
    )
    program = tmp_path / "main"
    compiler = shutil.which("cc") or "gcc"
    subprocess.run([compiler, str(main), str(library), "-o", str(program)], check=True)
    done = subprocess.run(
        [str(program)],
        env={**os.environ, "NVTX_INJECTION64_PATH": _core.__file__},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def regions_of_run(tmp_path, code, *options):
    """The regions of `picojoule run`, below the program's own."""
    script = tmp_path / "work.py"
    script.write_text(textwrap.dedent(code))
    out = tmp_path / f"run{len(options)}.pj"
    words = [sys.executable, "-m", "picojoule", "run", "-q", "-o", str(out), *options]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    subprocess.run([*words, str(script)], check=True, env=env)
    found = set(tree(pj.load(str(out))))
    return {p.removeprefix("work.py/") for p in found} - {"work.py"}


@pytest.mark.parametrize(("options", "found"), [([], {"range"}), (["--no-annotations"], set())])
def test_picojoule_run(library, tmp_path, options, found):
    code = f"""
        import ctypes
        lib = ctypes.CDLL({str(library)!r})
        lib.push(b"range")
        lib.pop()
    """
    assert regions_of_run(tmp_path, code, *options) == found


def test_the_nvtx_package(tmp_path):
    pytest.importorskip("nvtx")
    code = """
        import nvtx

        @nvtx.annotate("decorated")
        def f():
            with nvtx.annotate("inner", domain="mine"):
                pass

        f()
        r = nvtx.start_range("running")
        nvtx.end_range(r)
    """
    assert regions_of_run(tmp_path, code) == {"decorated", "decorated/mine:inner", "running"}
