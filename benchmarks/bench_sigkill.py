"""SIGKILL at random moments: does every trace load, and how much is lost?"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from support import save

import picojoule as pj

VICTIM = """
import os, sys, time
import picojoule as pj
with pj.profile("victim", output=sys.argv[1]):
    os.write(1, b"ready\\n")
    while True:
        with pj.region("loop"):
            sum(range(2000))
        os.write(2, b"%d\\n" % time.clock_gettime_ns(time.CLOCK_MONOTONIC))
"""


def main() -> None:
    random.seed(2)
    lost, empty = [], 0
    folder = Path(tempfile.mkdtemp())
    for i in range(50):
        path = folder / f"{i}.pj"
        child = subprocess.Popen(
            [sys.executable, "-c", VICTIM, str(path)], stdout=subprocess.PIPE,
            stderr=(folder / "err").open("wb"),
        )  # fmt: skip
        child.stdout.readline()
        time.sleep(random.uniform(0.0, 3.0))
        child.send_signal(signal.SIGKILL)
        child.wait()
        lines = (folder / "err").read_bytes().splitlines()
        last = int(lines[-1]) if lines else 0
        try:
            profile = pj.load(path)
        except pj.TruncatedTraceError:
            empty += 1  # killed before the first write, 0.2 s after the start
            continue
        lost.append(max(0.0, (last - profile.end_ns) * 1e-9))
    save(
        "sigkill",
        {
            "kills": 50,
            "loaded": len(lost),
            "killed_before_the_first_write": empty,
            "median_lost_s": round(sorted(lost)[len(lost) // 2], 3),
            "most_lost_s": round(max(lost), 3),
            "bar_lost_s": 1.0,
        },
    )


if __name__ == "__main__":
    main()
