"""A profile's row in the ledger: written at its begin, while it runs, and at its end.

The user's thread appends one line to the process's spool file, and that is all it waits for. A
thread of the process brings the rows into the ledger, asks how much energy was used so far, and
waits for the reading that closes a profile.
"""

from __future__ import annotations

import contextvars
import math
import os
import re
import sys
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from picojoule.errors import NotFinishedError, UsageError
from picojoule.green import database, keys, process, recorder
from picojoule.green.model import ROLES

if TYPE_CHECKING:
    from picojoule import _profile

#: "uid study" of the run that a program was started in, by 'picojoule run --study'.
INSIDE = "PICOJOULE_STUDY_RUN"

_innermost: contextvars.ContextVar[Recording | None] = contextvars.ContextVar(
    "picojoule_recording", default=None
)

_UNREAD = "unknown: its process was gone before the reading that closes it was written"
#: Words in names of scores that are better when smaller.
_SMALLER = frozenset(
    (
        "loss", "err", "error", "errors", "perplexity", "ppl", "mse", "rmse", "mae", "mape", "wer",
        "cer", "fid", "nll", "bpc", "bpb", "regret",
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Told:
    """What ``pj.profile(study=...)`` was given, checked."""

    study: str
    ledger: Path
    role: str
    config: Any
    config_hash: str
    fold: str
    seed: str
    uid: str = ""

    def again(self) -> Told:
        """The same for another run."""
        return replace(self, uid="")

    def to_json(self) -> dict[str, Any]:
        """For another process."""
        return {**asdict(self), "ledger": str(self.ledger)}

    @classmethod
    def from_json(cls, known: Mapping[str, Any]) -> Told:
        """What ``to_json`` gave."""
        return cls(**{**known, "ledger": Path(known["ledger"])})


def told(
    study: Any,
    role: str | None = None,
    config: Any = None,
    fold: Any = None,
    seed: Any = None,
    uid: str = "",
) -> Told | None:
    """Check the arguments; None without a study.

    Raises:
        UsageError: an unknown role, a configuration without JSON form, a study without a name, or
            one of the others without a study.
    """
    if isinstance(study, Told):
        return study
    if study is None:
        others = {"role": role, "config": config, "fold": fold, "seed": seed}
        if named := [name for name, value in others.items() if value is not None]:
            raise UsageError(f"{named[0]}= is of a run in a study; give study= as well")
        return None
    ledger = getattr(study, "ledger_path", None)
    name = study_name(getattr(study, "name", study))
    if role is not None and role not in ROLES:
        raise UsageError(f"role must be one of {', '.join(ROLES)}, not {role!r}")
    return Told(
        name,
        database.resolve(None) if ledger is None else ledger,
        role or "tune",
        keys.plain(config),
        keys.config_hash(config),
        "" if fold is None else str(fold),
        "" if seed is None else str(seed),
        uid,
    )


def study_name(name: Any) -> str:
    """``name``, if it can be the name of a study.

    Raises:
        UsageError: it is no text, empty, or has characters that do not print.
    """
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise UsageError(f"a study needs a name, such as 'ablation-2', not {name!r}")
    return name.strip()


class Recording:
    """The row of one run, as this process knows it."""

    def __init__(self, told: Told, profile: _profile.profile) -> None:
        """Begin the row and set it aside for the ledger."""
        now = time.time()
        here = process.here()
        self.profile: _profile.profile | None = profile
        self.pid = here.pid
        self.began = time.monotonic()
        self.ended = False
        self.given: set[str] = set()  # what the user told, which no measurement replaces
        self._outer = _innermost.get()
        uid = told.uid or uuid.uuid4().hex
        output = profile._output
        self.row: dict[str, Any] = {
            "uid": uid,
            "revision": 1,
            "study": told.study,
            "role": told.role,
            "status": "running",
            "config": told.config,
            "config_hash": told.config_hash,
            "fold": told.fold,
            "seed": told.seed,
            "name": profile.name,
            "begin_wall_s": now,
            "heartbeat_wall_s": now,
            "host": here.host,
            "machine": here.machine,
            "pid": here.pid,
            "started": here.started,
            "parent": self._parent(uid, told.study),
            "command": " ".join(sys.argv)[:4096],
            "trace": "" if output is None else str(Path(output).absolute()),
        }
        self._recorder = recorder.of(told.ledger)
        self._recorder.begin(self, [] if output is None else [Path(output).absolute().parent])
        _innermost.set(self)

    def _parent(self, uid: str, study: str) -> str:
        outer: Recording | None = self._outer
        while outer is not None:
            if not outer.ended and outer.row["study"] == study:
                return str(outer.row["uid"])
            outer = outer._outer
        inside, _, name = os.environ.get(INSIDE, "").partition(" ")
        return inside if name == study and inside != uid else ""

    def change(self, fields: Mapping[str, Any]) -> None:
        """A newer version of the row. Only under the recorder's lock."""
        self.row.update(fields)
        self.row["revision"] += 1

    def not_given(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """``fields`` without those that the user told."""
        return {name: value for name, value in fields.items() if name not in self.given}

    def end(self, error: BaseException | None) -> None:
        """The block has been left, by ``error`` perhaps."""
        if os.getpid() != self.pid or self.ended:
            return
        self.ended = True
        if _innermost.get() is self:
            _innermost.set(self._outer)
        status, words = how_it_ended(error)
        self._recorder.end(
            self,
            {
                "status": status,
                "error": words,
                "duration_s": time.monotonic() - self.began,
                "heartbeat_wall_s": time.time(),
                "energy_basis": self.row.get("energy_basis", _UNREAD),
            },
        )

    def interrupted(self) -> None:
        """The program ends inside the block."""
        self.end(KeyboardInterrupt("the program ended inside the block"))

    def score(self, fields: dict[str, Any], scores: dict[str, float], larger: Any) -> None:
        """Take in what ``profile.score`` was told.

        Raises:
            NotFinishedError: this is a forked child.
        """
        if os.getpid() != self.pid:
            raise NotFinishedError(
                "this profile belongs to the parent process; tell the score there"
            )
        directions = _directions(scores, larger, self.row.get("score_larger_is_better", {}))
        self._recorder.tell(self, fields, scores, directions)

    @property
    def trouble(self) -> str:
        """Why the ledger does not have the row yet; "" if it has, or will soon."""
        return self._recorder.trouble


def how_it_ended(error: BaseException | None) -> tuple[str, str]:
    """(status, one line) of a block that was left by ``error``."""
    if error is None:
        return "ok", ""
    if isinstance(error, SystemExit) and error.code in (None, 0):
        return "ok", ""
    said = " ".join(str(error).split())
    words = f"{type(error).__name__}: {said}"[:500] if said else type(error).__name__
    if any(kind.__name__ == "TrialPruned" for kind in type(error).__mro__):
        return "pruned", words  # Optuna's, whether it is installed or not
    if isinstance(error, (KeyboardInterrupt, GeneratorExit)) or (
        type(error).__name__ == "CancelledError"
    ):
        return "interrupted", words
    return "failed", words


def checked_facts(**facts: Any) -> dict[str, Any]:
    """What the user knows of a run, as fields; those that are None are left out.

    Raises:
        UsageError: a number that is negative, not a number or infinite.
    """
    out: dict[str, Any] = {}
    for name, value in facts.items():
        if value is None:
            continue
        if name in ("dataset", "device_name", "region"):
            out[name] = str(value)
            continue
        number = _number(name, value)
        if not 0.0 <= number < math.inf:
            raise UsageError(f"{name} must be a positive number, not {value!r}")
        out[name] = number
    if "flops" in out:
        out["flops_provenance"] = "given"
    return out


def checked_scores(scores: Mapping[str, Any]) -> dict[str, float]:
    """Scores as numbers; nan and infinite ones are results, too.

    Raises:
        UsageError: one is no number.
    """
    return {name: _number(name, value) for name, value in scores.items()}


def _number(name: str, value: Any) -> float:
    try:
        if isinstance(value, (str, bytes, bool)):
            raise TypeError
        return float(value)
    except (TypeError, ValueError):
        raise UsageError(f"{name} must be a number, not {value!r}") from None


def smaller_by_name(name: str) -> bool:
    """Whether the name of a score says that smaller is better: "val_loss", "RMSE", "error"."""
    return not _SMALLER.isdisjoint(re.split(r"[^a-z0-9]+", name.lower()))


def _directions(scores: Iterable[str], told: Any, known: Mapping[str, bool]) -> dict[str, bool]:
    """Which way each score is good; nothing for those that nobody told and no name tells."""
    out = {}
    for name in scores:
        said = told.get(name) if isinstance(told, Mapping) else told
        if said is not None:
            out[name] = bool(said)
        elif name not in known and smaller_by_name(name):
            out[name] = False
    return out
