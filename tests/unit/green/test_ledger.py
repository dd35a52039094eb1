"""The ledger as a file: what goes in comes out, and what cannot be is refused."""

from __future__ import annotations

import contextlib
import math
import shutil
import sqlite3
import string
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledgers import run, same

from picojoule.errors import LedgerBusyError, LedgerError, NewerLedgerError, UsageError
from picojoule.green import database, ledger, process
from picojoule.green.model import ROLES, STATUSES, Run
from picojoule.green.quantities import PROVENANCES, quantity

NAN = math.nan
positive = st.one_of(st.just(NAN), st.floats(0, 1e30))
words = st.text(string.printable, max_size=20)
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.floats(-1e9, 1e9), words),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(words, inner, max_size=3)),
    max_leaves=8,
)


@st.composite
def runs(draw: st.DrawFn) -> Run:
    joules = draw(positive)
    scores = draw(st.dictionaries(words, st.floats(), max_size=3))
    return Run(
        uid=draw(st.uuids()).hex,
        study=draw(st.sampled_from(["one", "two"])),
        role=draw(st.sampled_from(ROLES)),
        status=draw(st.sampled_from([s for s in STATUSES if s != "running"])),
        config=draw(json_values),
        config_hash=draw(words),
        fold=draw(words),
        seed=draw(words),
        begin_wall_s=draw(st.floats(0, 2e9)),
        duration_s=draw(positive),
        devices=tuple(draw(st.lists(words, max_size=3))),
        device_count=draw(positive),
        energy_j=joules,
        energy_low_j=joules * draw(st.floats(0, 1)),
        energy_high_j=joules * 1.5,
        energy_provenance=draw(st.sampled_from(PROVENANCES)),
        domain_j=draw(st.dictionaries(words, positive, max_size=3)),
        flops=draw(positive),
        examples=draw(positive),
        scores=scores,
        score_larger_is_better={name: draw(st.booleans()) for name in scores},
        git_dirty=draw(st.sampled_from([None, True, False])),
        versions=draw(st.dictionaries(words, words, max_size=2)),
        error=draw(words),
        heartbeat_wall_s=draw(positive),
    )


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(found=st.lists(runs(), max_size=5, unique_by=lambda r: r.uid))
def test_what_goes_in_comes_out(found: list[Run], tmp_path_factory: pytest.TempPathFactory) -> None:
    book = ledger.open(tmp_path_factory.mktemp("book") / "l.db")
    book.add_all(found)
    back = {r.uid: r for r in book.runs()}
    assert back.keys() == {r.uid for r in found}
    assert all(same(back[r.uid], r) for r in found)
    for summary in book.studies():
        of_it = [r for r in found if r.study == summary.name]
        known = [r.energy_j for r in of_it if not math.isnan(r.energy_j)]
        assert summary.runs == len(of_it)
        assert sum(summary.by_status.values()) == len(of_it)
        assert summary.without_energy == len(of_it) - len(known)
        if known:
            assert summary.energy.value == pytest.approx(math.fsum(known))
        else:
            assert not summary.energy.known


def test_runs_of_a_study_come_in_order_of_their_begin(tmp_path: Path) -> None:
    book = ledger.open(tmp_path / "l.db")
    book.add(run("b", begin_wall_s=2.0), run("a", begin_wall_s=1.0), run("c", study="other"))
    assert [r.uid for r in book.study("s")] == ["a", "b"]
    assert [s.name for s in book.studies()] == ["other", "s"]


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("role", "training", "role must be one of"),
        ("status", "dead", "status must be one of"),
        ("energy_j", -1.0, "energy_j"),
        ("energy_j", math.inf, "energy_j"),
        ("duration_s", -0.1, "duration_s"),
        ("examples", -3.0, "examples"),
        ("study", " ", "study"),
        ("energy_provenance", "guessed", "provenance"),
        ("domain_j", {"cpu": -1.0}, "cpu"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, field: str, value: object, words: str) -> None:
    book = ledger.open(tmp_path / "l.db")
    with pytest.raises(UsageError, match=words):
        book.add(run(), replace(run("b"), **{field: value}))
    assert not book.path.exists() or not book.runs()


def test_an_energy_outside_its_range_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="range"):
        ledger.open(tmp_path / "l.db").add(run(energy_j=5.0, energy_low_j=6.0, energy_high_j=7.0))


def test_unknown_stays_unknown(tmp_path: Path) -> None:
    book = ledger.open(tmp_path / "l.db")
    book.add(run())
    (back,) = book.study("s")
    assert math.isnan(back.energy_j) and math.isnan(back.flops) and back.git_dirty is None
    (summary,) = book.studies()
    assert not summary.energy.known and math.isnan(summary.device_s)


def test_an_unknown_study_is_named_with_those_like_it(tmp_path: Path) -> None:
    book = ledger.open(tmp_path / "l.db")
    with pytest.raises(UsageError, match="no ledger"):
        book.study("s")
    book.add(run(study="ablation"))
    with pytest.raises(UsageError, match="there are: ablation"):
        book.study("ablaton")
    assert ledger.open(tmp_path / "none.db").studies() == []


# -- Where it is -----------------------------------------------------------------------------------


def test_paths_and_urls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert database.resolve(f"sqlite:///{tmp_path}/a%20b.db") == tmp_path / "a b.db"
    assert database.resolve("sqlite:///x.db") == tmp_path / "x.db"
    assert database.resolve(f"file://{tmp_path}/x.db") == tmp_path / "x.db"
    assert database.resolve("x.db") == tmp_path / "x.db"
    for bad in ("postgresql://host/db", "https://example.org/l.db", "", "file://other/x.db"):
        with pytest.raises(UsageError):
            database.resolve(bad)


def test_the_default_lies_in_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PICOJOULE_LEDGER", raising=False)
    (tmp_path / ".git").mkdir()
    (tmp_path / "sub" / "deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "sub" / "deep")
    assert database.resolve(None) == tmp_path / "picojoule-ledger.db"
    monkeypatch.setenv("PICOJOULE_LEDGER", str(tmp_path / "own.db"))
    assert database.resolve(None) == tmp_path / "own.db"


def test_on_a_network_no_log_is_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_networked", lambda path: True)
    book = ledger.open(tmp_path / "l.db")
    book.add(run())
    with sqlite3.connect(book.path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    connection.close()
    monkeypatch.undo()
    book.add(run("b"))
    with sqlite3.connect(book.path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()
    assert len(book.study("s")) == 2


# -- Schemas ---------------------------------------------------------------------------------------


def test_a_future_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    book = ledger.open(tmp_path / "l.db")
    book.add(run())
    with sqlite3.connect(book.path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = book.path.read_bytes()
    for attempt in (book.studies, lambda: book.study("s"), lambda: book.add(run("b"))):
        with pytest.raises(NewerLedgerError, match="schema 99"):
            attempt()
    assert book.path.read_bytes() == before


def test_an_older_schema_is_brought_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = ledger.open(tmp_path / "l.db")
    book.add(run(energy_j=3.0))
    newer = (*database.MIGRATIONS, lambda c: c.execute("ALTER TABLE runs ADD COLUMN extra REAL"))
    with monkeypatch.context() as patch:
        patch.setattr(database, "MIGRATIONS", newer)
        book.add(run("b", energy_j=4.0))
        assert [r.energy_j for r in book.study("s")] == [3.0, 4.0]
        with sqlite3.connect(book.path) as connection:
            assert connection.execute("SELECT extra FROM runs").fetchall() == [(None,), (None,)]
        connection.close()
    with pytest.raises(NewerLedgerError):  # and for the older picojoule it is a future one
        book.study("s")


def test_a_migration_that_fails_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = ledger.open(tmp_path / "l.db")
    book.add(run())

    def half(connection: sqlite3.Connection) -> None:
        connection.execute("ALTER TABLE runs ADD COLUMN extra REAL")
        connection.execute("no such statement")

    with monkeypatch.context() as patch:
        patch.setattr(database, "MIGRATIONS", (*database.MIGRATIONS, half))
        with pytest.raises(LedgerError):
            book.add(run("b"))
    assert [r.uid for r in book.study("s")] == [run().uid]


def test_other_files_are_not_touched(tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    with pytest.raises(LedgerError, match="no ledger of picojoule"):
        ledger.open(other).add(run())
    text = tmp_path / "text.db"
    text.write_text("not a database, but long enough to be looked at\n" * 40)
    with pytest.raises(LedgerError, match="damaged or no ledger"):
        ledger.open(text).studies()


# -- Others at the same time -----------------------------------------------------------------------


def test_a_locked_ledger_is_waited_for_and_then_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = ledger.open(tmp_path / "l.db")
    book.add(run())
    other = sqlite3.connect(book.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    real = database.patiently
    monkeypatch.setattr(database, "patiently", lambda action, s=0.3: real(action, 0.3))
    with pytest.raises(LedgerBusyError, match="locked by another process"):
        book.add(run("b"))
    assert [r.uid for r in book.study("s")] == [run().uid]  # readers need not wait
    other.execute("COMMIT")
    other.close()
    book.add(run("b"))
    assert len(book.study("s")) == 2


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError):
        ledger.open(tmp_path / "file" / "l.db").add(run())


@pytest.mark.parametrize("log_is_left", [False, True])
def test_a_folder_that_may_not_be_written_is_read_with_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log_is_left: bool
) -> None:
    whole, path = tmp_path / "whole.db", tmp_path / "left.db"
    book = ledger.open(whole)
    book.add(run("a"))
    # A second connection keeps the log, as a process that was killed does.
    with contextlib.closing(sqlite3.connect(whole)) as other:
        other.execute("SELECT count(*) FROM runs").fetchone()
        book.add(run("b"))
        if not log_is_left:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        shutil.copyfile(whole, path)
        shutil.copyfile(f"{whole}-wal", f"{path}-wal")
    assert Path(f"{path}-wal").stat().st_size > 0 or not log_is_left
    connect = sqlite3.connect

    def refusing(name: object, *args: object, **told: object) -> sqlite3.Connection:
        if name == path:
            error = sqlite3.OperationalError("attempt to write a readonly database")
            error.sqlite_errorname = "SQLITE_READONLY_DIRECTORY"
            raise error
        return connect(name, *args, **told)  # type: ignore[call-overload,no-any-return]

    monkeypatch.setattr(database.sqlite3, "connect", refusing)
    before = path.read_bytes()
    assert [r.uid for r in ledger.open(path).study("s")] == ["a", "b"]
    assert path.read_bytes() == before
    with pytest.raises(LedgerError, match=r"cannot be written by this user .*may write"):
        ledger.open(path).add(run("c"))


def test_a_ledger_that_may_not_be_read(tmp_path: Path) -> None:
    error = sqlite3.OperationalError("unable to open database file")
    error.sqlite_errorname = "SQLITE_CANTOPEN"
    words = str(database.explained(error, tmp_path / "l.db", write=False))
    assert "cannot be read by this user" in words and "may read" in words


def test_merging_keeps_the_newer_row_and_every_setting(tmp_path: Path) -> None:
    a, b = ledger.open(tmp_path / "a.db"), ledger.open(tmp_path / "b.db")
    a.add(run("same", energy_j=1.0), run("mine"))
    a.set("s", region="GBR")
    b.add(run("same", energy_j=1.0))
    b.add(run("same", energy_j=2.0), run("theirs"))  # a second version of it
    b.set("s", pue=1.2)
    done = a.merge(b)
    assert (done.added, done.updated, done.known, done.settings) == (1, 1, 0, 1)
    assert {r.uid: r.energy_j for r in a.study("s")}["same"] == 2.0
    assert a.study("s").settings == {"region": "GBR", "pue": 1.2}
    again = a.merge(b)
    assert (again.added, again.updated, again.known, again.settings) == (0, 0, 2, 0)
    assert b.merge(a).added == 1
    assert {r.uid for r in b.study("s")} == {r.uid for r in a.study("s")}


def test_settings_have_a_history(tmp_path: Path) -> None:
    book = ledger.open(tmp_path / "l.db")
    price = quantity(2.5, "USD/h", low=2, high=3, provenance="published", basis="a list, 2026")
    book.set("s", price_per_device_hour=price, region="GBR")
    book.set("s", region="FRA")
    book.set("s", region="FRA")  # told again, it is no news
    assert book.settings("s") == {"price_per_device_hour": price, "region": "FRA"}
    told = [(key, value) for key, value, _ in book.settings_history("s")]
    assert told.count(("region", "FRA")) == 1 and ("region", "GBR") in told
    book.set("s", region=None)
    assert "region" not in book.settings("s")


# -- Lost runs -------------------------------------------------------------------------------------


def test_a_run_is_lost_when_its_process_is_gone() -> None:
    here = process.here()
    dead = process.Process(here.host, here.machine, 2**22 + 1, 5)
    reused = process.Process(here.host, here.machine, here.pid, here.started + 1)
    elsewhere = process.Process("other", "0" * 12, here.pid, here.started)
    now = time.time()
    assert process.status_now("running", here, now - 1e6, now) == "running"  # late, but alive
    assert process.status_now("running", dead, now, now) == "lost"
    assert process.status_now("running", reused, now, now) == "lost"
    assert process.status_now("running", elsewhere, now - 60, now) == "running"
    assert process.status_now("running", elsewhere, now - 3600, now) == "lost"
    assert process.status_now("ok", dead, now, now) == "ok"


def test_a_lost_run_of_another_machine_is_shown_and_revives(tmp_path: Path) -> None:
    book = ledger.open(tmp_path / "l.db")
    old = run(status="running", heartbeat_wall_s=time.time() - 3600, energy_j=5.0)
    book.add(old)
    (seen,) = book.study("s")
    assert seen.status == "lost" and seen.energy_j == 5.0 and "gone" in seen.error
    assert book.studies()[0].by_status == {"lost": 1}
    assert "was lost" in book.repair()[0]
    assert book.study("s")[0].status == "lost"
    # Its network was away for an hour, and now it tells more.
    row = {"uid": old.uid, "study": "s", "revision": 2, "status": "ok", "energy_j": 9.0}
    database.write(book.path, [row])
    assert book.study("s")[0].status == "ok" and book.study("s")[0].energy_j == 9.0
