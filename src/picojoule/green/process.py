"""Which process a row belongs to, and whether that process still lives.

A pid means something only below one kernel and in one pid namespace, and is used again after a
while. So a process is known by all of them: boot id and namespace, pid, and the tick it began at.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
from dataclasses import dataclass
from pathlib import Path

#: From here on without a sign of life, a process of another machine is taken for dead. Heartbeats
#: come every half minute at most, and clocks of two machines may differ.
QUIET_S = 600.0


@dataclass(frozen=True, slots=True)
class Process:
    """A process, for good.

    Attributes:
        host: name of its machine.
        machine: 12 hex digits of the boot id and the pid namespace; "" where there is neither.
        pid: its id there.
        started: clock ticks from boot to its begin; 0 if unknown.
    """

    host: str
    machine: str
    pid: int
    started: int

    @property
    def label(self) -> str:
        """A word for names of files."""
        return f"{self.machine or 'unknown'}-{self.pid}-{self.started}"


def here() -> Process:
    """This process."""
    return _process(os.getpid())


@functools.lru_cache(maxsize=1)
def _process(pid: int) -> Process:
    return Process(platform.node(), _machine(), pid, _looked_up(pid)[1])


def alive(process: Process) -> bool | None:
    """Whether it still runs; None if that cannot be told from here."""
    if not process.machine or process.machine != here().machine:
        return None
    state, started = _looked_up(process.pid)
    if state in ("", "Z", "X"):  # killed and not yet waited for is dead too
        return False
    return not process.started or started == process.started


def status_now(status: str, process: Process, heartbeat_wall_s: float, now_s: float) -> str:
    """What a stored status means now: "running" becomes "lost" once the process is gone."""
    if status != "running":
        return status
    living = alive(process)
    if living is None:
        living = now_s - heartbeat_wall_s <= QUIET_S
    return "running" if living else "lost"


def _looked_up(pid: int) -> tuple[str, int]:
    """(state, ticks from boot to its begin); ("", 0) if there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "", 0
    fields = text.rpartition(")")[2].split()  # the name before it may hold anything
    return fields[0], int(fields[19])


def _machine() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""
    return hashlib.sha256(f"{boot} {namespace}".encode()).hexdigest()[:12]
