"""The thread that brings a process's rows into a ledger."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from picojoule.errors import LedgerBusyError, LedgerError
from picojoule.green import database, keys
from picojoule.green.spool import Spool

if TYPE_CHECKING:
    from picojoule.green.recording import Recording

#: A run is asked for its energy at a tenth of its age, between these bounds.
_SOONEST_S, _LATEST_S = 2.0, 30.0
#: How often a ledger that cannot be written is tried again.
_AGAIN_S = 5.0
#: How long a run may wait for the reading that closes it, and the end of the program for all of
#: them, and for a locked ledger.
_CLOSING_S = 5.0
#: How long the end of the program waits for the thread, whose steps are short. It must not be left
#: behind: the interpreter would end it inside native code, and abort.
_EXIT_S = 60.0

_recorders: dict[Path, Recorder] = {}
_making = threading.Lock()


def of(ledger: Path) -> Recorder:
    """This process's recorder for ``ledger``."""
    with _making:
        if ledger not in _recorders:
            _recorders[ledger] = Recorder(ledger)
            _end_with_the_worker()
        return _recorders[ledger]


class Recorder:
    """Rows on their way to one ledger."""

    def __init__(self, ledger: Path) -> None:
        """Nothing is opened or made before the first row."""
        self.ledger = ledger
        self.trouble = ""
        self._spool = Spool(ledger, [Path.cwd()])
        self._wake = threading.Condition()
        self._open: list[Recording] = []
        self._closing: list[Recording] = []
        self._measuring: list[Recording] = []  # of those closing, while they are asked
        self._new: list[Recording] = []
        self._dirty: dict[str, Recording] = {}
        self._spooled: weakref.WeakKeyDictionary[Recording, int] = weakref.WeakKeyDictionary()
        self._due: weakref.WeakKeyDictionary[Recording, float] = weakref.WeakKeyDictionary()
        self._settings: list[tuple[str, str, str, float]] = []
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._hurry = False
        self._idle = False
        self._pause_s = 0.0
        self._git: tuple[float, tuple[str, bool | None]] | None = None
        self._said = ""

    # ---- what the user's threads call ----

    def begin(self, recording: Recording, folders: Sequence[Path]) -> None:
        """A run began; rows may be kept aside in ``folders``, too."""
        with self._wake:
            self._spool.also(folders)
            self._open.append(recording)
            self._new.append(recording)
            self._changed(recording)

    def end(self, recording: Recording, fields: Mapping[str, Any]) -> None:
        """It ended; its energy is known with the reading that closes it."""
        with self._wake:
            recording.change(fields)
            if recording in self._open:
                self._open.remove(recording)
            self._closing.append(recording)
            self._changed(recording)

    def tell(
        self,
        recording: Recording,
        fields: Mapping[str, Any],
        scores: Mapping[str, float],
        directions: Mapping[str, bool],
    ) -> None:
        """The user told something of it."""
        with self._wake:
            row = recording.row
            recording.given |= fields.keys()
            recording.change(
                {
                    **fields,
                    "scores": {**row.get("scores", {}), **scores},
                    "score_larger_is_better": {
                        **row.get("score_larger_is_better", {}),
                        **directions,
                    },
                }
            )
            self._changed(recording)

    def set(self, study: str, settings: Mapping[str, str]) -> None:
        """Settings of a study, as JSON."""
        when = time.time()
        with self._wake:
            for key, value in settings.items():
                setting = (study, key, value, when)
                self._settings.append(setting)
                self._aside({"kind": "settings", **dict(zip(_SETTING, setting, strict=True))})
            self._start()

    def flush(self, timeout_s: float) -> bool:
        """Wait until the ledger has everything; False if it has not after ``timeout_s``."""
        deadline = time.monotonic() + timeout_s
        with self._wake:
            self._hurry = True
            self._wake.notify_all()
            while self._pending() and time.monotonic() < deadline:
                self._wake.wait(0.02)
            self._hurry = False
            return not self._pending()

    def stop(self) -> None:
        """The program ends: the ledger gets what there is, or the spool keeps it."""
        for recording in list(self._open):
            recording.interrupted()
        thread = self._thread
        if thread is not None:
            with self._wake:
                self._stopping = True
                self._wake.notify_all()
            thread.join(_EXIT_S)
            if thread.is_alive():  # stuck in a disk; the spool has what it knew
                return
        with self._wake:
            if self._pending():
                self._work(last=True)
            if self._dirty or self._settings:
                self._aside_all()
                self._complain(self.trouble or "it is locked by others")
            self._spool.close()

    def forget(self) -> None:
        """In a forked child: all of it is its parent's."""
        self._spool.forget()

    # ---- keeping aside; under the lock ----

    def _changed(self, recording: Recording) -> None:
        self._dirty[recording.row["uid"]] = recording
        self._aside_run(recording)
        self._start()

    def _aside_run(self, recording: Recording) -> None:
        if self._aside({"kind": "run", **recording.row}):
            self._spooled[recording] = recording.row["revision"]

    def _aside(self, line: dict[str, Any]) -> bool:
        try:
            self._spool.append(line)
            return True
        except OSError as error:
            self.trouble = f"rows cannot be kept aside: {error}"
            return False

    def _aside_all(self) -> None:
        for recording in self._dirty.values():
            if self._spooled.get(recording) != recording.row["revision"]:
                self._aside_run(recording)

    def _start(self) -> None:
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="picojoule-ledger", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the interpreter ends: stop() does what is left
                return
            self._thread = thread
        if self._idle:  # else it looks again by itself, and would only take the GIL from the user
            self._wake.notify_all()

    def _pending(self) -> bool:
        return bool(self._dirty or self._closing or self._measuring or self._settings)

    # ---- the thread ----

    def _run(self) -> None:
        while True:
            with self._wake:
                if self._stopping:
                    return
                if not self._pending():
                    self._idle = True
                    self._wake.wait(self._idle_s())
                    self._idle = False
                elif not self._hurry:
                    self._wake.wait_for(lambda: self._stopping or self._hurry, self._pause_s)
                if self._stopping:
                    return
            try:
                self._work(last=False)
            except Exception as error:  # a fault of ours must not look like one of the program
                self.trouble = f"{type(error).__name__}: {error}"
                self._pause_s = _AGAIN_S

    def _idle_s(self) -> float | None:
        if not self._open:
            return None
        return max(0.0, min(self._due.get(r, 0.0) for r in self._open) - time.monotonic())

    def _work(self, *, last: bool) -> None:
        """One round: look at the runs, then write what is new."""
        with self._wake:
            new, self._new = self._new, []
            self._measuring += self._closing
            self._closing = []
        self._introduce(new)
        self._ask(time.monotonic())
        self._close(time.monotonic() + _CLOSING_S, last)
        began = time.monotonic()
        deadline = began + (_CLOSING_S if last else 0.0)
        while not self._write() and time.monotonic() < deadline and not self.trouble:
            time.sleep(0.02)
        # At most a tenth of this thread's time goes into writing.
        took = time.monotonic() - began
        self._pause_s = _AGAIN_S if self.trouble else min(_AGAIN_S, max(0.05, 10.0 * took))

    def _introduce(self, new: list[Recording]) -> None:
        """What takes longer to find out than a user's block should wait."""
        if not new:
            return
        now = time.monotonic()
        if self._git is None or now - self._git[0] > 60.0:
            self._git = (now, keys.git_state())
        commit, dirty = self._git[1]
        with self._wake:
            for recording in new:
                self._due[recording] = recording.began + _SOONEST_S
                recording.change(
                    {
                        "git_commit": commit,
                        "git_dirty": dirty,
                        "versions": keys.versions(),
                    }
                )
                self._dirty[recording.row["uid"]] = recording

    def _ask(self, now: float) -> None:
        """The energy so far of the runs that are due."""
        for recording in list(self._open):
            if self._stopping:
                return
            if now < self._due.get(recording, 0.0):
                continue
            began = time.monotonic()
            fields = _measured(recording, live=True)
            took = time.monotonic() - began
            age = began - recording.began
            wait = max(min(max(0.1 * age, _SOONEST_S), _LATEST_S), 100.0 * took)
            with self._wake:
                self._due[recording] = time.monotonic() + wait
                if recording.ended:
                    continue
                fields["heartbeat_wall_s"] = time.time()
                recording.change(recording.not_given(fields))
                self._dirty[recording.row["uid"]] = recording

    def _close(self, deadline: float, last: bool) -> None:
        """The final figures of the runs that ended, with their closing readings by ``deadline``."""
        while self._measuring:
            recording = self._measuring[0]
            session = recording.profile._session if recording.profile is not None else None
            while session is not None and session.end_ns and not session.wait(0.05):
                if self._stopping and not last:
                    return  # the end of the program goes on from here
                if time.monotonic() > deadline:
                    break
            fields = _measured(recording, live=False)
            with self._wake:
                recording.change({**recording.not_given(fields), "versions": keys.versions()})
                self._dirty[recording.row["uid"]] = recording
                self._measuring.pop(0)

    def _write(self) -> bool:
        """Bring what is new into the ledger; False if it has to wait."""
        with self._wake:
            batch = {uid: dict(r.row) for uid, r in self._dirty.items()}
            settings = list(self._settings)
        if not batch and not settings:
            return True
        try:
            database.write(self.ledger, batch.values(), settings)
        except LedgerBusyError:
            with self._wake:
                self._aside_all()
            return False
        except LedgerError as error:
            with self._wake:
                self.trouble = str(error)
                self._aside_all()
                self._complain(self.trouble)
            return False
        with self._wake:
            self.trouble = ""
            for uid, row in batch.items():
                if self._dirty[uid].row["revision"] == row["revision"]:
                    del self._dirty[uid]
            self._settings = [s for s in self._settings if s not in settings]
            if not self._dirty and not self._settings:
                self._spool.clear()
            self._wake.notify_all()
        return True

    def _complain(self, why: str) -> None:
        """Say once what keeps the rows out of the ledger, and where they are."""
        if why == self._said:
            return
        self._said = why
        kept = all(r in self._spooled for r in self._dirty.values())
        words = (
            f"they wait in {self._spool.path}; once it can be written, "
            f"'picojoule study repair {self._spool.path}' takes them in"
            if kept
            else "they are lost if it stays so"
        )
        print(f"picojoule: runs are not in the ledger: {why}; {words}", file=sys.stderr)


_SETTING = ("study", "key", "value", "when")


def _measured(recording: Recording, *, live: bool) -> dict[str, Any]:
    """What the profile says; nothing if it cannot say."""
    profile = recording.profile
    if profile is None or profile._session is None:
        return {}
    try:
        if not live:
            recording.profile = None
        return keys.measured(profile._result or profile.snapshot())
    except Exception as error:
        return {"energy_basis": f"unknown: {type(error).__name__}: {error}"}


def flush(timeout_s: float = 10.0) -> bool:
    """Wait until the ledgers have all rows of this process; False if they have not by then."""
    done = True
    for recorder in list(_recorders.values()):
        done = recorder.flush(timeout_s) and done
    return done


def _at_exit() -> None:
    for recorder in list(_recorders.values()):
        recorder.stop()
    _recorders.clear()


def _end_with_the_worker() -> None:
    """Workers of multiprocessing end without the exit handlers of the interpreter."""
    process, util = (sys.modules.get(f"multiprocessing.{n}") for n in ("process", "util"))
    if process is not None and util is not None and process.parent_process() is not None:
        util.Finalize(None, _at_exit, exitpriority=-1000)


def _forget() -> None:
    global _making
    _making = threading.Lock()
    for recorder in _recorders.values():
        recorder.forget()
    _recorders.clear()


atexit.register(_at_exit)
os.register_at_fork(after_in_child=_forget)
