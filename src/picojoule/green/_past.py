"""What the other runs of a study have cost, for a budget that they share."""

from __future__ import annotations

import math
import os
import platform
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from picojoule.green import costs
from picojoule.green.model import Study
from picojoule.green.quantities import Quantity

if TYPE_CHECKING:
    from picojoule.green.study import OpenStudy


class PastRuns:
    """What a study has cost without this process's own running runs; read now and then."""

    #: Seconds between two looks at the ledger.
    _EVERY_S = 30.0

    def __init__(self, study: Study | OpenStudy | str | None, ledger: Any) -> None:
        """``study``: a snapshot that stays, or one in the ledger, by name or as opened."""
        self._path = ledger
        self._study = study if isinstance(study, (Study, str)) or study is None else study.name
        if not isinstance(study, (Study, str)) and study is not None:
            self._path = study.ledger_path
        self._read_at = -math.inf
        self._runs: Study | None = None
        self.settings: Mapping[str, Any] = {}
        found = self._read()
        if found is not None:
            self.settings = found.settings

    def _read(self) -> Study | None:
        if self._study is None or isinstance(self._study, Study):
            found = self._study
        elif time.monotonic() - self._read_at < self._EVERY_S:
            return self._runs
        else:
            from picojoule.green import ledger, recorder

            recorder.flush(1.0)  # what this process finished a moment ago
            told = ledger.open(self._path)
            if self._study in {s.name for s in told.studies()}:
                found = told.study(self._study)
            else:
                found = Study(self._study, ())  # its first run is about to begin
            self._read_at = time.monotonic()
        if found is not None and found is not self._runs:
            here = (os.getpid(), platform.node())
            # What this process runs is looked up in the open profile, which is newer.
            others = [r for r in found if r.status != "running" or (r.pid, r.host) != here]
            self._runs = Study(found.name, others, found.settings)
        return self._runs

    def spent(
        self, kind: str, settings: Mapping[str, Any], limit: Quantity
    ) -> tuple[Quantity, str]:
        """(cost of the others, what is missing from it)."""
        runs = self._read()
        if not runs:
            return Quantity(0.0, limit.dimension), ""
        charged = costs.of(runs, kind, settings)
        known = charged.known_sum()
        if not known.known:
            return Quantity(0.0, limit.dimension), f"not in the sum: {charged.why_unknown}"
        note = f"not in the sum: {charged.why_unknown}" if charged.why_unknown else ""
        return known, note
