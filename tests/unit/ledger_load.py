"""Many processes that write runs at once, some of them killed: is every run accounted for?"""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from picojoule.green import ledger

WRITER = """
import os, sys, time
import picojoule as pj
me, count, log = sys.argv[1], int(sys.argv[2]), os.open(sys.argv[3], os.O_WRONLY | os.O_APPEND)
study = pj.study("load", ledger=sys.argv[4])
os.write(log, b"ready\\n")
sys.stdin.readline()
for i in range(count):
    with pj.profile(study=study, fold=me, seed=i, config={"me": me}) as p:
        os.write(log, b"begun %d\\n" % i)
        p.score(value=i)
        time.sleep(0.003)
    os.write(log, b"ended %d\\n" % i)
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the runs.

    Attributes:
        begun: runs that programs say they began.
        ended: of these, runs that they say they ended.
        rows: in the ledger.
        missing: begun runs without a row; ended ones that are not "ok" in it.
        wrong: rows that hold what nobody wrote, or twice the same run.
        lost: runs that were open when their process was killed.
        aborted: processes that ended otherwise than by themselves or our kill.
        intact: whether SQLite finds the file whole.
        seconds: of the writing.
        seconds_to_read: of the first look afterwards, which takes in what was kept aside.
        unread: ended runs whose energy was not written yet when their process was killed.
        unread_of_living: the same of processes that nobody killed.
    """

    begun: int
    ended: int
    rows: int
    missing: int
    wrong: int
    lost: int
    aborted: int
    intact: bool
    seconds: float
    seconds_to_read: float
    unread: int
    unread_of_living: int


def storm(folder: Path, processes: int, count: int, killed: int, seed: int = 1) -> Outcome:
    """Let ``processes`` write ``count`` runs each, and kill ``killed`` of them meanwhile."""
    path = folder / "load.db"
    logs = [folder / f"{n}.log" for n in range(processes)]
    writers = []
    for n, log in enumerate(logs):
        log.touch()
        words = [sys.executable, "-c", WRITER, str(n), str(count), str(log), str(path)]
        writers.append(subprocess.Popen(words, stdin=subprocess.PIPE, cwd=folder))
    while not all(log.read_bytes() for log in logs):
        time.sleep(0.05)
    began = time.monotonic()
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write(b"\n")
        writer.stdin.close()
    chance = random.Random(seed)
    doomed = {n: chance.randrange(1, count // 2) for n in chance.sample(range(processes), killed)}
    while doomed:
        for n, after in list(doomed.items()):
            if logs[n].read_bytes().count(b"ended") >= after:
                writers[n].send_signal(signal.SIGKILL)
                del doomed[n]
        time.sleep(0.001)
    codes = [writer.wait() for writer in writers]
    seconds = time.monotonic() - began
    return _judged(path, logs, seconds, codes)


def _judged(path: Path, logs: list[Path], seconds: float, codes: list[int]) -> Outcome:
    told = {str(n): Counter(log.read_text().splitlines()) for n, log in enumerate(logs)}
    began = time.monotonic()
    runs = ledger.open(path).study("load")
    seconds_to_read = time.monotonic() - began
    rows = Counter((r.fold, r.seed) for r in runs)
    begun = {(n, line.split()[1]) for n, log in told.items() for line in log if "begun" in line}
    ended = {(n, line.split()[1]) for n, log in told.items() for line in log if "ended" in line}
    good = {(r.fold, r.seed) for r in runs if r.status == "ok"}
    wrong = sum(n - 1 for n in rows.values())
    for r in runs:
        whole = r.config == {"me": r.fold} and r.scores in ({"value": float(r.seed)}, {})
        # A row of the moment before the kill has no line in the log yet, and at most one a process.
        expected = (r.fold, r.seed) in begun or r.status in ("lost", "ok")
        wrong += not (whole and expected and (r.scores or r.status == "lost"))
    unread = [r for r in runs if "gone before" in r.energy_basis or not r.energy_basis]
    unread = [r for r in unread if (r.fold, r.seed) in ended]
    missing = len(begun - rows.keys()) + len(ended - good)
    with sqlite3.connect(path) as connection:
        intact = connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    return Outcome(
        len(begun),
        len(ended),
        len(runs),
        missing,
        wrong,
        sum(r.status == "lost" for r in runs),
        sum(code not in (0, -signal.SIGKILL) for code in codes),
        intact,
        seconds,
        seconds_to_read,
        len(unread),
        sum(codes[int(r.fold)] == 0 for r in unread),
    )
