"""Eight processes write at once and three of them are killed; benchmarks/bench_ledger.py has 64."""

from __future__ import annotations

from pathlib import Path

from ledger_load import storm


def test_every_run_is_accounted_for(tmp_path: Path) -> None:
    found = storm(tmp_path, processes=8, count=25, killed=3)
    assert found.intact
    assert found.missing == 0 and found.wrong == 0
    assert found.begun <= found.rows <= found.begun + 3
    assert found.ended <= found.rows - found.lost + 3
    assert found.unread_of_living == 0 and found.aborted == 0
    assert found.begun >= 5 * 25 and found.lost <= 3
