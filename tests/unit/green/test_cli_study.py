"""``picojoule study`` and ``picojoule run --study``."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from ledgers import python, run

from picojoule.cli import main
from picojoule.cli._study_run import config_of
from picojoule.errors import UsageError
from picojoule.green import inside, ledger, recording


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ledger.Ledger:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PICOJOULE_LEDGER", str(tmp_path / "l.db"))
    monkeypatch.delenv(recording.INSIDE, raising=False)
    return ledger.open()


def test_list_and_show(book: ledger.Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "list"]) == 0
    assert "no runs in" in capsys.readouterr().err
    book.add(
        run("a" * 32, energy_j=7.2e6, energy_provenance="measured", scores={"acc": 0.9}, fold="A"),
        run("b" * 32, status="failed", begin_wall_s=1.7e9 + 1),
    )
    assert main(["study", "list"]) == 0
    out = capsys.readouterr().out
    assert "1 ok, 1 failed" in out and "2.00 kWh measured + 1 unknown" in out
    assert main(["study", "list", "--json"]) == 0
    (line,) = json.loads(capsys.readouterr().out)
    assert line["energy_j"] == 7.2e6 and line["runs_without_energy"] == 1
    assert main(["study", "show", "s"]) == 0
    out = capsys.readouterr().out
    assert "aaaaaaaa" in out and "unknown" in out and "0.9" in out
    assert main(["study", "show", "s", "--status", "failed", "--json"]) == 0
    (only,) = json.loads(capsys.readouterr().out)
    assert only["uid"] == "b" * 32 and only["energy_j"] is None
    assert main(["study", "show", "s", "aaa"]) == 0
    assert "energy_provenance" in capsys.readouterr().out
    assert main(["study", "show", "s", "-n", "1"]) == 0
    assert "the last 1 of 2 runs" in capsys.readouterr().out
    assert main(["study", "show", "s", "x"]) == 2
    assert main(["study", "show", "unknown"]) == 2
    assert "there are: s" in capsys.readouterr().err


def test_overlapping_runs_are_told(book: ledger.Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    shared = {"host": "h", "devices": ("gpu",), "duration_s": 10.0}
    book.add(
        run("a", begin_wall_s=0.0, **shared),
        run("b", begin_wall_s=5.0, **shared),
        run("c", begin_wall_s=20.0, **shared),
    )
    assert [(x.uid, y.uid) for x, y in inside.overlapping(book.study("s"))] == [("a", "b")]
    main(["study", "show", "s"])
    assert "1 pairs of runs shared a device" in capsys.readouterr().out


def test_settings(book: ledger.Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "set", "s", "region=GBR", "pue=1.2", "title=A b"]) == 0
    assert book.settings("s") == {"region": "GBR", "pue": 1.2, "title": "A b"}
    assert main(["study", "set", "s", "title="]) == 0
    assert "title" not in book.settings("s")
    assert main(["study", "set", "s", "regoin=GBR"]) == 2
    assert "did you mean region" in capsys.readouterr().err


def test_two_factors_and_how_to_leave_one_out(
    book: ledger.Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    book.add(run("a" * 32, energy_j=3.6e6, energy_provenance="measured"))
    book.set("s", region="GBR", pue=1.2)
    assert main(["study", "report", "s", "--set", "carbon_factor=211 g/kWh"]) == 2
    said = capsys.readouterr().err
    assert "region and carbon_factor are two factors" in said and "--set carbon_factor=" in said
    capsys.readouterr()
    assert main(["study", "set", "s", "carbon_factor=211 g/kWh"]) == 0
    assert main(["study", "report", "s"]) == 2
    assert main(["study", "report", "s", "--set", "carbon_factor="]) == 0
    assert main(["study", "set", "s", "carbon_factor="]) == 0
    assert main(["study", "report", "s"]) == 0


def test_exports_hold_every_run(book: ledger.Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    book.add(run("a", config={"lr": 0.1}, scores={"acc": 1.0}), run("b", energy_j=5.0))
    assert main(["study", "export", "s", "-f", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [r["energy_j"] for r in found["runs"]] == [None, 5.0]
    assert main(["study", "export", "s", "-f", "csv", "-o", "out.csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(Path("out.csv").read_text())))
    assert rows[0]["config.lr"] == "0.1" and rows[0]["score.acc"] == "1.0"
    assert rows[0]["energy_j"] == "" and rows[1]["energy_j"] == "5.0"
    assert main(["study", "export", "s", "-f", "docx"]) == 2
    assert "json, csv" in capsys.readouterr().err


def test_merge_import_and_repair(book: ledger.Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    ledger.open("other.db").add(run("a"))
    assert main(["study", "merge", "other.db"]) == 0
    assert "1 runs are new" in capsys.readouterr().err
    Path("jobs.txt").write_text(
        "JobID|State|Start|ElapsedRaw|AllocTRES\n1|COMPLETED|2026-01-01T10:00:00|41400|node=1\n"
        "2|COMPLETED|2026-01-01T10:00:00|x|node=1\n"
    )
    assert main(["study", "import", "jobs.txt", "--study", "j", "--power", "300 W"]) == 0
    err = capsys.readouterr().err
    assert "jobs.txt:3: ElapsedRaw is no number" in err and "1 modelled" in err
    assert book.study("j")[0].energy.to("kWh") == pytest.approx(0.3 * 11.5)
    assert main(["study", "repair"]) == 0
    assert "nothing to repair" in capsys.readouterr().err


def test_config_words() -> None:
    assert config_of(["lr=0.1", "opt=adam", '{"sizes": [1, 2]}', "deep=true", "path=a=b"]) == {
        "lr": 0.1, "opt": "adam", "sizes": [1, 2], "deep": True, "path": "a=b",
    }  # fmt: skip
    for bad in ("lr", "=3", "{lr"):
        with pytest.raises(UsageError):
            config_of([bad])


_RUN = """
import sys
from picojoule.cli import main
sys.exit(main(["run", "-q", *sys.argv[1:]]))
"""


def test_run_puts_programs_into_a_study(book: ledger.Ledger, tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(
        "import sys, os, picojoule as pj\n"
        "sum(range(10**6))\n"
        "if sys.argv[1] == 'raise': raise RuntimeError('boom')\n"
        "if sys.argv[1] == 'kill': os.kill(os.getpid(), 9)\n"
        "if sys.argv[1] == 'inner':\n"
        "    with pj.profile(study='s', role='final') as p: p.score(a=1)\n"
        "sys.exit(int(sys.argv[1]) if sys.argv[1].isdecimal() else 0)\n"
    )
    words = ("--study", "s", "--config", "lr=0.1", "--seed", "7", "--role", "ablation")
    for argument, code in (("0", 0), ("3", 3), ("raise", 1), ("kill", 137), ("inner", 0)):
        done = python(_RUN, *words, "job.py", argument, cwd=tmp_path, check=False)
        assert done.returncode == code, done.stderr
    done = python(_RUN, "--study", "s", "--", "sh", "-c", "exit 4", cwd=tmp_path, check=False)
    assert done.returncode == 4, done.stderr
    found = book.study("s")
    told = [(r.role, r.status, r.error) for r in found]
    assert told == [
        ("ablation", "ok", ""),
        ("ablation", "failed", "exit status 3"),
        ("ablation", "failed", "RuntimeError: boom"),
        ("ablation", "failed", "killed by SIGKILL"),
        ("ablation", "ok", ""),
        ("final", "ok", ""),
        ("tune", "failed", "exit status 4"),
    ]
    assert all(r.config == {"lr": 0.1} and r.seed == "7" for r in found.where(role="ablation"))
    told_of = [(r.duration_s > 0, bool(r.energy_basis), r.trace) for r in found]
    assert told_of == [(True, True, "")] * 7
    assert "less the runs inside it (1)" in found[4].energy_basis


def test_a_wrong_call_runs_nothing(book: ledger.Ledger, tmp_path: Path) -> None:
    for words in (("--role", "final"), ("--study", "s", "--role", "x"), ("--study", "")):
        done = python(_RUN, *words, "--", "touch", "ran", cwd=tmp_path, check=False)
        assert done.returncode == 2 and not (tmp_path / "ran").exists()
