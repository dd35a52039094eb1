"""Runs written by programs: ended well or badly, killed, forked, or without a place to write."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ledgers import python

import picojoule as pj
from picojoule.errors import NotFinishedError, UsageError
from picojoule.green import database, inside, ledger, recorder, recording, spool
from picojoule.green.model import Study


@pytest.fixture(autouse=True)
def _own_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PICOJOULE_LEDGER", str(tmp_path / "l.db"))
    monkeypatch.delenv(recording.INSIDE, raising=False)
    monkeypatch.chdir(tmp_path)
    yield
    recorder.flush()


def runs(name: str = "s") -> Study:
    assert recorder.flush()
    return ledger.open().study(name)


def work(seconds: float = 0.05) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(1000))


# -- What a row says -------------------------------------------------------------------------------


def test_a_run_has_its_keys_its_energy_and_its_scores(tmp_path: Path) -> None:
    config = {"lr": 0.1, "layers": (1, 2)}
    with pj.profile("net", study="s", config=config, fold="A", seed=3, role="final") as p:
        work()
        p.score(accuracy=0.9, loss=2)
    p.score(accuracy=0.91, examples=1000, dataset="faces", dataset_size=500, parameters=1e6)
    (run,) = runs()
    assert (run.role, run.status, run.fold, run.seed, run.name) == ("final", "ok", "A", "3", "net")
    assert run.config == {"lr": 0.1, "layers": [1, 2]} and len(run.config_hash) == 16
    assert run.scores == {"accuracy": 0.91, "loss": 2.0}
    assert run.score_larger_is_better == {"loss": False}
    assert (run.examples, run.dataset, run.dataset_size, run.parameters) == (1e3, "faces", 500, 1e6)
    assert run.duration_s == pytest.approx(p.duration_s)
    assert run.energy_j == pytest.approx(p.energy_j, nan_ok=True)
    assert run.energy_provenance == p.total.provenance
    assert run.energy_low_j <= run.energy_j <= run.energy_high_j
    assert run.pid == os.getpid() and run.versions["python"].startswith("3.")
    assert run.device_count >= 1 and run.host
    assert not any(f.read_bytes() for f in spool.waiting(tmp_path / "l.db"))


class TrialPruned(Exception):  # noqa: N818
    """Named like Optuna's."""


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (ValueError("bad\nluck"), "failed", "ValueError: bad luck"),
        (KeyboardInterrupt(), "interrupted", "KeyboardInterrupt"),
        (asyncio.CancelledError(), "interrupted", "CancelledError"),
        (TrialPruned("poor"), "pruned", "TrialPruned: poor"),
        (SystemExit(0), "ok", ""),
        (SystemExit(3), "failed", "SystemExit: 3"),
    ],
)
def test_how_a_block_ends_is_told(error: BaseException, status: str, words: str) -> None:
    with pytest.raises(type(error)), pj.profile(study="s"):
        raise error
    (run,) = runs()
    assert (run.status, run.error) == (status, words)


def test_given_figures_go_before_measured_ones() -> None:
    with pj.profile(study="s") as p:
        p.score(flops=1e12, device_count=4, device_name="node")
        work()
    (run,) = runs()
    assert (run.flops, run.flops_provenance) == (1e12, "given")
    assert (run.device_count, run.device_name) == (4.0, "node")


def test_each_call_of_a_decorated_function_is_a_run() -> None:
    @pj.profile(study="s", config={"a": 1})
    def step() -> None:
        work(0.01)

    step()
    step()
    assert [r.config for r in runs()] == [{"a": 1}] * 2
    assert len({r.uid for r in runs()}) == 2


def test_usage_errors_come_before_anything_is_measured() -> None:
    with pytest.raises(UsageError, match="role must be one of"):
        pj.profile(study="s", role="training")
    with pytest.raises(UsageError, match="give study="):
        pj.profile(config={"lr": 1})
    with pytest.raises(UsageError, match="no JSON form"):
        pj.profile(study="s", config={"lock": threading.Lock()})
    for name in ("", "  ", "a\nb", 3):
        with pytest.raises(UsageError, match="needs a name"):
            pj.profile(study=name)
    with pytest.raises(UsageError, match="belongs to a run of a study"):
        pj.profile().score(a=1)
    with pytest.raises(NotFinishedError):
        pj.profile(study="s").score(a=1)
    with pj.profile(study="s") as p:
        for bad in ({"a": "0.9"}, {"a": None}, {"a": True}, {"examples": -1}, {"flops": math.nan}):
            with pytest.raises(UsageError):
                p.score(**bad)
        p.score(a=math.nan, b=math.inf)  # a loss that diverged is a result
    (run,) = runs()
    assert math.isnan(run.scores["a"]) and run.scores["b"] == math.inf


def test_study_keeps_settings_and_knows_its_runs() -> None:
    study = pj.study("s", region="GBR", pue=1.2, price_per_kwh="0.25 EUR/kWh")
    with study.profile(config={"lr": 1}) as p:
        p.score(accuracy=1)
    found = study.read()
    assert found.settings == {"region": "GBR", "pue": 1.2, "price_per_kwh": "0.25 EUR/kWh"}
    assert [r.scores for r in found] == [{"accuracy": 1.0}]
    with pytest.raises(UsageError, match="did you mean region"):
        pj.study("s", regoin="GBR")


def test_a_ledger_of_ones_own(tmp_path: Path) -> None:
    study = pj.study("s", ledger=tmp_path / "own.db")
    with pj.profile(study=study):
        pass
    assert len(study.read()) == 1
    assert not (tmp_path / "l.db").exists()


# -- Inside and beside -----------------------------------------------------------------------------


def test_runs_inside_of_a_run_count_once() -> None:
    with pj.profile(study="s", role="eval") as outer:
        work(0.1)
        with pj.profile(study="s") as first:
            work(0.1)
        with pj.profile(study="other"), pj.profile(study="s") as second:
            work(0.1)
    found = runs()
    total = sum(r.energy_j for r in found)
    assert total == pytest.approx(outer.energy_j, nan_ok=True)
    (around,) = found.where(role="eval")
    inner_s = first.duration_s + second.duration_s
    assert around.duration_s == pytest.approx(outer.duration_s - inner_s, abs=0.02)
    assert "less the runs inside it (2)" in around.energy_basis
    (summary,) = [s for s in ledger.open().studies() if s.name == "s"]
    assert summary.energy.value == pytest.approx(total, nan_ok=True)


def test_runs_beside_each_other_are_told() -> None:
    barrier = threading.Barrier(2)

    def one() -> None:
        with pj.profile(study="s"):
            barrier.wait(10)
            work(0.05)
            barrier.wait(10)

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = runs()
    assert len(found) == 2 and all("less the runs" not in r.energy_basis for r in found)
    assert len(list(inside.overlapping(list(found)))) == 1


# -- Forks and workers -----------------------------------------------------------------------------


def test_a_forked_child_writes_its_own_runs_and_not_its_parents() -> None:
    with pj.profile(study="s", role="eval") as outer:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                try:
                    outer.score(a=1)
                except NotFinishedError:
                    with pj.profile(study="s", role="final") as p:
                        p.score(a=2)
                    code = 0 if recorder.flush() else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    found = runs()
    assert [(r.role, r.scores) for r in found] == [("eval", {}), ("final", {"a": 2.0})]
    assert found[1].pid == pid


_WORKERS = """
import multiprocessing, sys
import picojoule as pj

def worker(number):
    with pj.profile(study="s", seed=number) as p:
        p.score(a=number)

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    workers = [context.Process(target=worker, args=(n,)) for n in range(2)]
    for one in workers:
        one.start()
    for one in workers:
        one.join()
    sys.exit(max(one.exitcode for one in workers))
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_of_multiprocessing_write_their_runs_in_full(method: str, tmp_path: Path) -> None:
    (tmp_path / "workers.py").write_text(_WORKERS)
    subprocess.run([sys.executable, "workers.py", method], cwd=tmp_path, check=True, timeout=120)
    found = runs()
    assert sorted(r.seed for r in found) == ["0", "1"]
    assert all(r.status == "ok" and r.energy_basis for r in found)


def _put(uid: str) -> None:
    row = {"uid": uid, "study": "w", "revision": 1}
    database.patiently(lambda: database.write(ledger.open().path, [row]))


def test_a_fork_waits_until_the_ledger_is_closed() -> None:
    """A child that inherits SQLite's locks could damage the file; see database.py."""
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            _put(f"{number}")

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for number in range(10):
            pid = os.fork()
            if pid == 0:
                try:
                    _put(f"child {number}")
                    os._exit(0)
                finally:
                    os._exit(1)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    finally:
        stop.set()
        thread.join()
    assert sum(r.uid.startswith("child") for r in ledger.open().study("w")) == 10
    with sqlite3.connect(ledger.open().path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


# -- Killed ----------------------------------------------------------------------------------------

_ENDLESS = """
import sys, time
import picojoule as pj
with pj.profile(study="s", config={"lr": 1}, output=sys.argv[1] or None) as p:
    p.score(accuracy=0.5)
    print("go", flush=True)
    while True:
        sum(range(10000))
"""


def _killed_after(seconds: float, output: str, tmp_path: Path) -> int:
    child = subprocess.Popen(
        [sys.executable, "-c", _ENDLESS, output], cwd=tmp_path, stdout=subprocess.PIPE
    )
    assert child.stdout is not None and child.stdout.readline() == b"go\n"
    time.sleep(seconds)
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    return child.pid


def test_a_run_killed_at_once_has_a_row(tmp_path: Path) -> None:
    pid = _killed_after(0.0, "", tmp_path)
    (run,) = runs()
    assert (run.status, run.pid, run.config) == ("lost", pid, {"lr": 1})
    assert run.scores == {"accuracy": 0.5} and "gone" in run.error
    assert not spool.folder_of(tmp_path / "l.db").exists()  # taken in


def test_a_killed_run_keeps_the_energy_of_its_trace(tmp_path: Path) -> None:
    _killed_after(1.5, "t.pj", tmp_path)
    kept = pj.load(tmp_path / "t.pj")
    for _ in range(2):  # the second time it is in the ledger
        (run,) = runs()
        assert run.status == "lost"
        assert run.energy_j == pytest.approx(kept.energy_j, nan_ok=True)
        assert run.duration_s == pytest.approx(kept.duration_s)
        if not math.isnan(kept.energy_j):
            assert "recovered from the trace" in run.energy_basis


def test_a_heartbeat_tells_the_energy_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "_SOONEST_S", 0.1)
    with pj.profile(study="s"):
        began = time.time()
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            work(0.1)
            found = ledger.open().study("s") if ledger.open().path.exists() else []
            if len(found) and found[0].heartbeat_wall_s > began:
                break
        (run,) = found
        assert run.status == "running" and run.duration_s > 0
        assert run.energy_j > 0 or math.isnan(run.energy_j)


def test_a_program_that_ends_inside_a_block_is_interrupted(tmp_path: Path) -> None:
    code = """
    import picojoule as pj
    p = pj.profile(study="s")
    p.__enter__()
    sum(range(10**6))
    """
    python(code, cwd=tmp_path)
    (run,) = runs()
    assert run.status == "interrupted" and "ended inside the block" in run.error
    assert run.duration_s > 0


# -- Nowhere to write ------------------------------------------------------------------------------

_THREE = """
import picojoule as pj
for number in range(3):
    with pj.profile(study="s", seed=number, output=f"{number}.pj") as p:
        p.score(a=number)
    assert p.result.duration_s > 0
print("done")
"""


def test_a_locked_ledger_delays_nobody_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.open().set("s", title="t")
    other = sqlite3.connect(tmp_path / "l.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    done = python(_THREE, cwd=tmp_path)
    assert done.stdout == "done\n"
    assert "runs are not in the ledger: it is locked by others; they wait in" in done.stderr
    other.execute("ROLLBACK")
    other.close()
    found = runs()
    assert [(r.seed, r.status, r.scores["a"]) for r in found] == [
        (str(n), "ok", float(n)) for n in range(3)
    ]
    assert all(r.energy_basis for r in found)
    assert all(pj.load(tmp_path / f"{n}.pj").duration_s > 0 for n in range(3))


def test_a_ledger_that_cannot_be_made_leaves_the_rows_aside(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = python(_THREE, cwd=tmp_path, PICOJOULE_LEDGER=str(tmp_path / "file" / "l.db"))
    assert done.stdout == "done\n" and done.stderr.count("not in the ledger") == 1
    (aside,) = (tmp_path / "l.db-spool").glob("*.jsonl")
    assert str(aside) in done.stderr
    assert all(pj.load(tmp_path / f"{n}.pj").duration_s > 0 for n in range(3))
    assert ledger.open().repair(aside) == [] and len(runs()) == 3


def test_a_future_ledger_is_left_alone_and_the_program_too(tmp_path: Path) -> None:
    ledger.open().set("s", title="t")
    with sqlite3.connect(tmp_path / "l.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    done = python(_THREE, cwd=tmp_path)
    assert done.stdout == "done\n" and "schema 99" in done.stderr
    with sqlite3.connect(tmp_path / "l.db") as connection:
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    assert len(runs()) == 3


_FULL = """
import resource, sys, os
import picojoule as pj
limit = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
for number in range(3):
    with pj.profile(study="s", seed=number) as p:
        p.score(a=number)
    assert p.result.duration_s > 0
print("done")
"""


def test_a_disk_that_is_full_for_the_ledger_only(tmp_path: Path) -> None:
    ledger.open().set("s", title="t")
    done = python(_FULL, "20000", cwd=tmp_path)  # less than SQLite needs, enough for the rows
    assert done.stdout == "done\n" and "runs are not in the ledger" in done.stderr
    assert sorted(r.seed for r in runs()) == ["0", "1", "2"]


def test_a_disk_that_is_full_altogether(tmp_path: Path) -> None:
    done = python(_FULL, "0", cwd=tmp_path)
    assert done.stdout == "done\n"
    assert "runs are not in the ledger" in done.stderr and "Traceback" not in done.stderr
    assert "they are lost if it stays so" in done.stderr


def test_what_goes_wrong_inside_the_recorder_stays_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(recorder.Recorder, "begin", broken)
    with pj.profile(study="s", output=tmp_path / "t.pj") as p:
        p.score(a=1)
    assert p.result.duration_s > 0
    assert "this run is not in the ledger: a fault of ours" in capfd.readouterr().err
