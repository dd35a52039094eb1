"""Run a program as if nobody stood between it and whoever called us.

The parent blocks the signals it cares for and takes them one at a time with ``sigtimedwait``. That
tells who sent each, which a handler cannot: what the terminal sends reaches the whole process
group, so the program has it already; what a person or a scheduler sends to us alone is passed on.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

_FORWARDED = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
_JOB_STOPS = (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
_SI_KERNEL = 0x80  # siginfo's si_code of a signal that the terminal's driver sent
_FOREVER_S = 3600.0


def exit_status(wait_status: int) -> int:
    """A wait status as a shell would give it: the code, or 128 + the signal that killed."""
    if os.WIFSIGNALED(wait_status):
        return 128 + os.WTERMSIG(wait_status)
    return os.WEXITSTATUS(wait_status)


def death_notice(wait_status: int) -> str | None:
    """One sentence if a signal killed the program; None for Ctrl-C, which needs no telling."""
    if not os.WIFSIGNALED(wait_status) or os.WTERMSIG(wait_status) == signal.SIGINT:
        return None
    number = os.WTERMSIG(wait_status)
    try:
        name = f" ({signal.Signals(number).name})"
    except ValueError:  # a real-time signal
        name = ""
    return f"the program was killed by signal {number}{name}"


def interpreter_flags() -> list[str]:
    """The flags this interpreter was started with (``-O``, ``-W``, ``-X``, ...), for the child."""
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    if getattr(sys.stdout, "write_through", False):
        flags.append("-u")
    return flags


class Supervisor:
    """Starts one program and waits for it; made by ``signals_held``."""

    def __init__(
        self, forwarded: frozenset[signal.Signals], mask: frozenset[signal.Signals]
    ) -> None:
        """Forward ``forwarded``; give the program the signal mask ``mask``."""
        self._forwarded = forwarded
        self._mask = mask

    def spawn(self, executable: str, argv: Sequence[str]) -> int:
        """Start the program with our environment, our open files and our caller's signals."""
        return os.posix_spawn(
            executable,
            list(argv),
            os.environ,
            setsigmask=self._mask,
            # Python ignores these two for itself; other programs do not expect that.
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
        )

    def wait(self, pid: int, tick: Callable[[], None] | None = None, every_s: float = 1.0) -> int:
        """Wait until the program ends; its wait status. Calls ``tick`` every ``every_s``."""
        watched = self._forwarded | {signal.SIGCHLD, signal.SIGCONT}
        while True:
            done, status = os.waitpid(pid, os.WNOHANG | os.WUNTRACED)
            if done and not os.WIFSTOPPED(status):
                return status
            if done and os.WSTOPSIG(status) in _JOB_STOPS:
                self._stop_with(pid)
            info = signal.sigtimedwait(watched, every_s if tick else _FOREVER_S)
            if info is None:
                if tick:
                    tick()
            elif info.si_signo == signal.SIGCONT:
                os.kill(pid, signal.SIGCONT)
            elif info.si_signo == signal.SIGCHLD or info.si_code == _SI_KERNEL:
                continue
            elif info.si_pid != pid:
                os.kill(pid, info.si_signo)

    def _stop_with(self, pid: int) -> None:
        """Stop too, so that the shell gets its prompt back; on, when the program is on again."""
        time.sleep(0.05)  # we may be here because both were stopped and go on just now
        with contextlib.suppress(OSError, IndexError):
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            if state == "T":
                os.kill(os.getpid(), signal.SIGTSTP)


@contextlib.contextmanager
def signals_held() -> Iterator[Supervisor]:
    """Hold back the signals that belong to the program, from before it starts until it has ended.

    Threads started inside inherit the mask, so none of them takes a signal that is not theirs.
    What our caller ignores (``nohup``) stays ignored, here and in the program.
    """
    forwarded = frozenset(s for s in _FORWARDED if signal.getsignal(s) != signal.SIG_IGN)
    if signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # else there is no status to wait for
    held = forwarded | {signal.SIGCHLD, signal.SIGCONT}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, held)
    mask = frozenset(signal.Signals(s) for s in before)
    try:
        yield Supervisor(forwarded, mask)
    finally:
        while signal.sigtimedwait(held, 0) is not None:
            pass  # meant for the program, which is gone
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
