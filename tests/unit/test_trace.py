"""The trace: whole, damaged, foreign, newer, unfinished."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

import picojoule as pj


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    path = tmp_path_factory.mktemp("trace") / "run.pj"
    with pj.profile("stored", sources=["cpu_estimate"], output=path) as prof:
        for _ in range(20):
            with pj.region("outer"), pj.region("inner é"):
                sum(range(20_000))
        time.sleep(0.08)
    return path, prof.result


def test_what_is_loaded_is_what_was_recorded(stored):
    path, before = stored
    after = pj.load(path)
    assert after.name == "stored"
    assert after.duration_s == before.duration_s
    assert after.energy_j == pytest.approx(before.energy_j, rel=1e-12)
    assert after.total.interval() == pytest.approx(before.total.interval(), rel=1e-9)
    assert [(r.path, r.calls, r.duration_s) for r in after.regions] == [
        (r.path, r.calls, r.duration_s) for r in before.regions
    ]
    np.testing.assert_array_equal(after.readings, before.readings)
    np.testing.assert_array_equal(after.spans, before.spans)
    assert after.meta["host"] == before.meta["host"]
    assert after.warnings == before.warnings


def test_finished_folder_has_no_journal(stored):
    path, _ = stored
    assert sorted(p.name for p in path.iterdir()) == [
        "meta.json",
        "names.arrows",
        "readings.arrows",
        "regions.arrows",
        "spans.arrows",
    ]


def test_any_arrow_reader_opens_it(stored):
    import nanoarrow as na

    path, before = stored
    rows = na.ArrayStream.from_path(path / "names.arrows").read_all().to_pylist()
    assert {"outer", "inner é"} <= {r["name"] for r in rows}
    readings = na.ArrayStream.from_path(path / "readings.arrows").read_all()
    values = [r["value"] for r in readings.to_pylist()]
    assert values == sorted(values)  # cumulative joules
    assert values[-1] - values[0] >= before.energy_j * 0.5


def test_save_and_load(tmp_path, stored):
    with pj.profile("short") as prof, pj.region("x"):
        pass
    prof.save(tmp_path / "a.pj")
    assert pj.load(tmp_path / "a.pj").regions["x"].calls == 1
    with pytest.raises(FileExistsError, match="never overwritten"):
        prof.save(tmp_path / "a.pj")


def damaged(stored, tmp_path, name="copy.pj"):
    copy = tmp_path / name
    shutil.copytree(stored[0], copy)
    return copy


def test_nothing_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="no trace at"):
        pj.load(tmp_path / "none.pj")


def test_foreign(tmp_path, stored):
    (tmp_path / "file.pj").write_text("hello")
    with pytest.raises(pj.ForeignTraceError, match="is a file"):
        pj.load(tmp_path / "file.pj")
    (tmp_path / "folder").mkdir()
    with pytest.raises(pj.ForeignTraceError, match="no trace of picojoule"):
        pj.load(tmp_path / "folder")
    (tmp_path / "folder" / "meta.json").write_text('{"format": "something else"}')
    with pytest.raises(pj.ForeignTraceError, match="something else"):
        pj.load(tmp_path / "folder")


def test_newer(tmp_path, stored):
    copy = damaged(stored, tmp_path)
    meta = json.loads((copy / "meta.json").read_text())
    meta["version"] = 99
    (copy / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(pj.NewerTraceError, match="pip install -U picojoule"):
        pj.load(copy)


@pytest.mark.parametrize("name", ["readings", "regions", "spans", "names"])
def test_truncated(tmp_path, stored, name):
    copy = damaged(stored, tmp_path)
    file = copy / f"{name}.arrows"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(pj.TruncatedTraceError, match=name):
        pj.load(copy)
    file.unlink()
    with pytest.raises(pj.TruncatedTraceError, match="lacks"):
        pj.load(copy)


def test_damaged_meta(tmp_path, stored):
    copy = damaged(stored, tmp_path)
    text = (copy / "meta.json").read_text()
    (copy / "meta.json").write_text(text[: len(text) // 2])
    with pytest.raises(pj.TruncatedTraceError, match="cut short"):
        pj.load(copy)
    meta = json.loads(text)
    del meta["channels"]
    (copy / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(pj.TruncatedTraceError, match="damaged"):
        pj.load(copy)


def test_random_bytes_never_crash(tmp_path, stored):
    rng = random.Random(7)
    for i in range(40):
        copy = damaged(stored, tmp_path, f"{i}.pj")
        file = rng.choice(sorted(copy.iterdir()))
        data = bytearray(file.read_bytes())
        for _ in range(rng.randint(1, 8)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        file.write_bytes(data)
        try:
            pj.load(copy)
        except (pj.TraceError, FileNotFoundError) as error:
            assert str(copy) in str(error)  # noqa: PT017


# ---- unfinished ----

VICTIM = textwrap.dedent(
    """
    import os, sys, time
    import picojoule as pj
    with pj.profile("victim", sources=["cpu_estimate"], output=sys.argv[1]):
        print("ready", flush=True)
        while True:
            with pj.region("loop"):
                sum(range(1000))
            os.write(2, b"%d\\n" % time.clock_gettime_ns(time.CLOCK_MONOTONIC))
    """
)


def kill_after(path, seconds, code=VICTIM):
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert child.stdout.readline() == b"ready\n"
    time.sleep(seconds)
    child.send_signal(signal.SIGKILL)
    _, err = child.communicate(timeout=20)
    lines = err.splitlines()
    return int(lines[-1]) if lines else 0


@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.3, 0.9])
def test_a_killed_program_leaves_a_readable_trace(tmp_path, seconds):
    path = tmp_path / "run.pj"
    last_alive_ns = kill_after(path, seconds)
    try:
        profile = pj.load(path)
    except pj.TruncatedTraceError:
        assert seconds < 0.3
        return
    assert profile.name == "victim"
    assert any("without finishing" in w for w in profile.warnings)
    assert (last_alive_ns - profile.end_ns) * 1e-9 < 1.0
    if seconds >= 0.3:
        assert profile.regions["loop"].calls > 0
        assert profile.energy_j > 0


def test_the_program_may_hold_the_gil_for_long(tmp_path):
    code = VICTIM.replace(
        "sum(range(1000))",
        "import ctypes; print; ctypes.PyDLL(None).usleep(900_000)",  # PyDLL keeps the GIL
    )
    path = tmp_path / "run.pj"
    last_alive_ns = kill_after(path, 2.5, code)
    assert pj.load(path).end_ns > last_alive_ns - 1_000_000_000


def test_exit_with_an_open_profile_writes_it(tmp_path):
    path = tmp_path / "run.pj"
    code = (
        "import sys, picojoule as pj; p = pj.profile('open', output=sys.argv[1]); p.__enter__();\n"
        "r = pj.region('r'); r.__enter__()\n"
        "import time; time.sleep(0.1)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, timeout=20, check=True
    )
    assert done.stderr == b""
    profile = pj.load(path)
    assert not (path / "journal.pjj").exists()
    assert profile.regions["r"].open_at_end == 1
    assert any("ended inside this profile" in w for w in profile.warnings)


def test_never_looked_at_is_written_all_the_same(tmp_path):
    path = tmp_path / "run.pj"
    code = "import sys, picojoule as pj\nwith pj.profile('p', output=sys.argv[1]): pass\n"
    subprocess.run([sys.executable, "-c", code, str(path)], timeout=20, check=True)
    assert pj.load(path).name == "p"
    assert not (path / "journal.pjj").exists()


# ---- output folders ----


def test_output_exists(tmp_path):
    with pytest.raises(FileExistsError, match="never overwritten"):
        pj.profile(output=tmp_path).__enter__()


def test_output_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot be created"):
        pj.profile(output=tmp_path / "file" / "run.pj").__enter__()


def test_a_disk_that_fills_up_disturbs_nothing(tmp_path):
    """A file size limit stands in for a full disk: writes fail at a known byte."""
    code = textwrap.dedent(
        """
        import resource, signal, sys, time, picojoule as pj
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        with pj.profile("full", sources=["cpu_estimate"], output=sys.argv[1]) as prof:
            with pj.region("before"):
                time.sleep(0.5)
            resource.setrlimit(resource.RLIMIT_FSIZE, (2048, resource.RLIM_INFINITY))
            with pj.region("after"):
                time.sleep(0.8)
        print(prof.regions["after"].calls, prof.energy_j >= 0)
        print(prof.warnings)
        """
    )
    path = tmp_path / "run.pj"
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, timeout=30, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1 True\n")  # the result in memory is whole
    assert "could not be" in done.stdout
    profile = pj.load(path)  # and so is what was written before
    assert profile.name == "full"


def test_a_forked_child_leaves_the_trace_alone(tmp_path):
    path = tmp_path / "run.pj"
    with pj.profile("parent", sources=["cpu_estimate"], output=path) as prof:
        with pj.region("mine"):
            pid = os.fork()
            if pid == 0:
                with pj.region("child's"):
                    pass
                os._exit(0)
            os.waitpid(pid, 0)
        time.sleep(0.05)
    assert prof.result.warnings == pj.load(path).warnings
    assert {r.name for r in pj.load(path).regions} == {"mine"}


def test_paths_of_every_kind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for output in ["rel.pj", Path("deep/er/run.pj"), tmp_path / "üñí.pj"]:
        with pj.profile(output=output) as prof:
            pass
        assert prof.result is not None
        assert pj.load(output).duration_s == prof.duration_s
