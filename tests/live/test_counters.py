"""Counters, end to end: programs of their own against the scripted CUPTI, as on a GPU."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from picojoule.counters import load_counts

FAKES = Path(__file__).resolve().parents[1] / "fakes"


def environment(**changes: str) -> dict[str, str]:
    """This process's, without what would reach into a scenario."""
    ours = ("PICOJOULE", "CUDA_", "FAKE_", "PYTHONPATH")
    return {k: v for k, v in os.environ.items() if not k.startswith(ours)} | changes


GPU = """
import ctypes, os, sys, time

cupti = ctypes.CDLL(os.environ["PICOJOULE_CUPTI"])
cupti.fake_cupti_violations.restype = ctypes.c_char_p
for name in ("fake_counters_kernel", "fake_counters_rate"):
    getattr(cupti, name).argtypes = [
        *[ctypes.c_char_p] * (2 if name.endswith("kernel") else 1), ctypes.c_double
    ]

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

def launch(name, grid=8, call=307, kind=10):
    one = Launch(kind=kind, call=call, domain=1, name=name, context=1, stream=7, grid=(grid, 1, 1),
                 block=(128, 1, 1), dynamic_shared=64, start=1, end=2)
    cupti.fake_cupti_launch(ctypes.byref(one))

SASS = "smsp__sass_thread_inst_executed_op_%s_pred_on.sum"
"""

PROGRAM = """
import json
cupti.fake_counters_kernel(b"_Z4gemmPf", b"sm__ops_path_tensor_src_bf16_dst_fp32.sum", 524288)
cupti.fake_counters_kernel(b"_Z4gemmPf", b"sm__inst_executed_pipe_tensor.sum", 128)
cupti.fake_counters_kernel(b"_Z4gemmPf", b"dram__bytes_read.sum", 16384)
cupti.fake_counters_kernel(b"_Z4gemmPf", b"dram__bytes_write.sum", 8192)
cupti.fake_counters_kernel(b"_Z4gemmPf", b"gpu__time_duration.sum", 3000)
cupti.fake_counters_kernel(b"axpy", (SASS % "ffma").encode(), 1000)
cupti.fake_counters_kernel(b"tf32", b"sm__inst_executed_pipe_tensor.sum", 9)
for _ in range(3):
    launch(b"_Z4gemmPf")
launch(b"axpy")
launch(b"axpy", grid=16)
launch(b"tf32")
launch(b"graph", call=514, kind=0)
print(json.dumps({"violations": cupti.fake_cupti_violations().decode(), "argv": sys.argv[1:],
                  "replays": cupti.fake_counters_replays()}), flush=True)
"""


@pytest.fixture(scope="session")
def cupti(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripted libcupti.so.13, counters and all."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc) on this machine to build the scripted CUPTI with")
    library = tmp_path_factory.mktemp("cupti") / "libcupti.so.13"
    command = [compiler, "-shared", "-fPIC", "-O2", "-Wl,-soname,libcupti.so.13"]
    command += ["-o", str(library), str(FAKES / "fake_cupti.c")]
    command += [str(FAKES / "fake_cupti_counters.c"), "-lpthread"]
    subprocess.run(command, check=True, timeout=120)
    return library


def procfs(folder: Path, admin_only: int = 0, capabilities: str = "0") -> str:
    (folder / "proc/self").mkdir(parents=True)
    (folder / "proc/self/status").write_text(f"CapEff:\t{capabilities:>016}\n")
    (folder / "proc/driver/nvidia").mkdir(parents=True)
    (folder / "proc/driver/nvidia/params").write_text(f"RmProfilingAdminOnly: {admin_only}\n")
    (folder / "proc/driver/nvidia/version").write_text(
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul 27 07:14:04 UTC 2025\n"
    )
    return str(folder / "proc")


@pytest.fixture
def count(cupti: Path, tmp_path: Path) -> Any:
    """``count(options, code=..., **env)``: ``picojoule count`` of such a program."""

    def go(*options: str, code: str = PROGRAM, admin_only: int = 0, **env: str) -> Any:
        (tmp_path / "program.py").write_text(GPU + textwrap.dedent(code), encoding="utf-8")
        tree = procfs(tmp_path, admin_only)
        return subprocess.run(
            [sys.executable, "-m", "picojoule", "count", *options, "program.py", "--epochs", "3"],
            cwd=tmp_path,
            env=environment(**{"PICOJOULE_CUPTI": str(cupti), "PICOJOULE_PROCFS": tree, **env}),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return go


def test_each_kernel_is_counted_once_and_the_file_has_what_it_did(count, tmp_path):
    done = count("-o", "counts.json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said == {"violations": "", "argv": ["--epochs", "3"], "replays": 4 * 2}
    table = load_counts(tmp_path / "counts.json")
    assert (table.chip, table.cupti, table.driver) == ("GH100", "13.0", "580.65.06")
    assert (table.plan, table.passes, table.graphs, len(table)) == ("checked", 2, 1, 4)

    gemm = table[("gemm(float*)", (8, 1, 1), (128, 1, 1), 64)]
    assert gemm.launches == 3
    assert gemm.flops["tensor-bf16"] == gemm.flops_total == 524288
    assert (gemm.bytes, gemm.time_ns, gemm.provenance) == (24576, 3000, "counted")
    axpy = table.find("axpy", (16, 1, 1), (128, 1, 1))
    assert axpy is not None and axpy.flops["fp32"] == axpy.flops_total == 2000
    assert table.find("axpy", (32, 1, 1), (128, 1, 1)) is None

    # Work of the tensor cores that no counter of this plan explains is unknown, and said to be.
    tf32 = table.find("tf32", (8, 1, 1), (128, 1, 1))
    assert tf32 is not None and tf32.flops_total != tf32.flops_total
    assert "tensor-tf32" in tf32.uncounted
    assert "4 of 4 kernels were counted" in done.stderr
    assert "1 kernels did, or may have done" in done.stderr and "--types all" in done.stderr
    assert "CUDA graphs" in done.stderr


def test_a_refusal_that_the_kernel_tells_is_said_before_anything_runs(count, tmp_path):
    done = count("-o", "counts.json", admin_only=1)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "not permitted" in line
    assert "NVreg_RestrictProfilingToAdminUsers=0" in line and "CAP_PERFMON" in line
    assert not (tmp_path / "counts.json").exists()


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("range_enable=35", "NVreg_RestrictProfilingToAdminUsers=0"),
        ("init=999", "no NVIDIA driver"),
        ("chip=GX1", "no set of counters for the chip GX1"),
    ],
)
def test_a_refusal_of_the_device_is_one_sentence_after_the_program(count, tmp_path, script, words):
    done = count("-o", "counts.json", FAKE_CUPTI_COUNTERS=script)
    assert done.returncode == 2
    assert json.loads(done.stdout)["replays"] == 0  # the program ran as always
    (line,) = done.stderr.splitlines()
    assert "nothing was counted" in line and words in line
    assert not (tmp_path / "counts.json").exists()


def test_another_profiler_is_said_before_the_program_begins(count):
    done = count(FAKE_CUPTI="refuse=39")
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "another profiler holds CUPTI" in line


def test_the_programs_own_end_is_ours(count, tmp_path):
    done = count("-o", "c.json", code=PROGRAM + "\nsys.exit(7)")
    assert done.returncode == 7
    assert len(load_counts(tmp_path / "c.json")) == 4


def test_a_program_that_is_killed_leaves_no_counts_and_that_is_said(count, tmp_path):
    done = count("-o", "c.json", code=PROGRAM + "\nos.kill(os.getpid(), 9)")
    assert done.returncode == 128 + 9
    assert "left no counts" in done.stderr
    assert not (tmp_path / "c.json").exists()


def test_a_program_without_kernels_is_no_success(count):
    done = count(code="print('nothing')")
    assert done.returncode == 2
    assert "launched no kernel" in done.stderr


def test_without_a_driver_or_a_library_that_is_said(cupti, tmp_path):
    (tmp_path / "a.py").write_text("print('ran')")

    def go(**env: str) -> Any:
        return subprocess.run(
            [sys.executable, "-m", "picojoule", "count", "a.py"],
            cwd=tmp_path,
            env=environment(**env),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    (tmp_path / "empty").mkdir()
    done = go(PICOJOULE_CUPTI=str(cupti), PICOJOULE_PROCFS=str(tmp_path / "empty"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "no NVIDIA driver" in done.stderr
    done = go(PICOJOULE_CUPTI=str(tmp_path / "no.so"), PICOJOULE_PROCFS=procfs(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert "libcupti was not found" in done.stderr and "pip install" in done.stderr


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["ls"], "only Python programs"),
        ([], "nothing to run"),
        (["--types", "some", "a.py"], "invalid choice"),
        (["--times", "0", "a.py"], "whole number from 1"),
        (["-o", "no/where.json", "a.py"], "there is no folder"),
        (["-o", ".", "a.py"], "this is a folder"),
    ],
)
def test_what_cannot_mean_anything(tmp_path, words, complaint):
    (tmp_path / "a.py").write_text("print('ran')")
    done = subprocess.run(
        [sys.executable, "-m", "picojoule", "count", *words],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert complaint in done.stderr


# -- PM sampling -----------------------------------------------------------------------------------


@pytest.fixture
def sample(cupti: Path, scenario: Any) -> Any:
    """``sample(code)``: run ``code`` where the scripted CUPTI is the one there is."""

    def go(code: str, **env: str) -> Any:
        head = GPU + "from picojoule.counters import PmSampler\n"
        return scenario(head + textwrap.dedent(code), PICOJOULE_CUPTI=str(cupti), **env)

    return go


def test_a_sampler_gives_arrays_in_picojoules_time(sample):
    said = sample(
        """
        cupti.fake_counters_rate(b"dram__bytes_read.sum", 2.0)
        cupti.fake_counters_rate(b"gpc__cycles_elapsed.avg.per_second", 1e3)
        before = time.monotonic_ns()
        with PmSampler(interval_us=500) as sampler:
            cupti.fake_counters_advance(ctypes.c_uint64(101))
        r = sampler.readings
        say(n=len(r.begin_ns), shape=r.values.shape, bytes=r["dram_read_bytes"].tolist(),
            late=int(r.begin_ns[0]) - before, set=r.set, chip=r.chip, provenance=r.provenance,
            lengths=sorted(set((r.end_ns - r.begin_ns).tolist())), warnings=r.warnings,
            during=r.sm_clock_during_hz, additive=dict(zip(r.quantities, r.additive)),
            violations=cupti.fake_cupti_violations().decode())
        # One kernel half of the time: all that was counted is its.
        runs = [(int(b), int(b) + 250_000, "k") for b in r.begin_ns]
        shares = r.disaggregate(runs)
        say(rate=shares["dram_read_bytes"][0].rate, split=sorted(shares))
        try:
            r["no such counter"]
        except KeyError as error:
            say(unknown=str(error))
        """
    )
    assert said.violations == ""
    assert (said.n, said.shape) == (100, [100, 25])
    assert (said.chip, said.set, said.provenance) == ("GH100", "GH100-B", "counted")
    assert said.bytes == [1e6] * 100
    assert all(abs(length - 500_000) < 100 for length in said.lengths)
    assert 0 < said.late < 10e9
    assert said.during == 5e8  # 1000 Hz for each of the 500,000 ns
    assert said.additive["dram_read_bytes"] and not said.additive["gpc_hz"]
    assert said.rate == pytest.approx(4e9, rel=1e-3)
    assert "gpc_hz" not in said.split and "tensor_cycles" in said.split
    assert "GH100-B" in said.unknown
    assert said.warnings == []


def test_counters_that_an_older_library_lacks_are_named(sample):
    said = sample(
        """
        for metric in pj._core.pm_sets("GH100")[0]["metrics"]:
            scope = metric["name"].index("__")
            cupti.fake_counters_base(metric["name"][: metric["name"].index(".", scope)].encode())
        with PmSampler() as sampler:
            cupti.fake_counters_advance(ctypes.c_uint64(3))
        r = sampler.readings
        say(shape=r.values.shape, there="dram_read_bytes" in r.quantities, warnings=r.warnings)
        """,
        FAKE_CUPTI_COUNTERS="unknown=dram__bytes",
    )
    assert (said.shape, said.there) == ([2, 23], False)
    assert said.warnings == [
        "this CUPTI has no dram_read_bytes, dram_write_bytes on GH100; 13.0 has"
    ]


def test_a_sampler_that_is_refused_names_the_remedy(sample):
    said = sample(
        """
        try:
            with PmSampler():
                pass
        except pj.NoMeterError as error:
            say(error=str(error))
        """,
        FAKE_CUPTI_COUNTERS="pm_enable=35",
    )
    assert "PM sampling is not permitted" in said.error
    assert "NVreg_RestrictProfilingToAdminUsers=0" in said.error


def test_what_a_sampler_cannot_be(sample):
    said = sample(
        """
        def refused(make):
            try:
                make()
            except (pj.UsageError, pj.NotFinishedError) as error:
                return type(error).__name__
        def twice():
            with PmSampler() as sampler:
                pass
            with sampler:
                pass
        say(found=[refused(lambda: PmSampler(interval_us=1)), refused(lambda: PmSampler(-1)),
                   refused(lambda: PmSampler().readings), refused(twice)])
        """
    )
    assert said.found == ["UsageError", "UsageError", "NotFinishedError", "UsageError"]


def test_a_profile_with_sampled_counters_keeps_them(sample):
    said = sample(
        """
        cupti.fake_counters_rate(b"dram__bytes_read.sum", 2.0)
        with pj.profile(sources=["cpu_estimate"], pm_interval_us=500) as prof:
            cupti.fake_counters_advance(ctypes.c_uint64(101))
        live = prof.result.pm
        prof.save("kept.pj")
        kept = pj.load("kept.pj").pm
        say(n=len(live.begin_ns), same=bool((live.values == kept.values).all()),
            quantities=live.quantities == kept.quantities, set=kept.set,
            times=bool((live.begin_ns == kept.begin_ns).all()),
            clock=[str(live.sm_clock_before_hz), str(kept.sm_clock_before_hz)],
            kernels=prof.result.pm_by_kernel())
        """
    )
    assert said.n == 100 and said.same and said.quantities and said.times and said.set == "GH100-B"
    assert said.clock[0] == said.clock[1] and said.kernels == {}


def test_a_refused_sampler_is_a_sentence_in_the_profile(scenario):
    said = scenario(
        """
        import picojoule as pj
        with pj.profile(sources=["cpu_estimate"], pm_interval_us=500) as prof:
            pass
        prof.save("kept.pj")
        say(warnings=prof.result.warnings, kept=pj.load("kept.pj").warnings,
            pm=str(prof.result.pm))
        """,
        PICOJOULE_CUPTI="/nowhere/libcupti.so",
    )
    assert said.pm == "None"
    (warning,) = [w for w in said.warnings if "counters were not sampled" in w]
    assert warning in said.kept
