"""Rows kept aside: any order, twice, cut off, and by processes that are gone."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from picojoule.errors import LedgerError
from picojoule.green import database, ledger, process, spool


def line(uid: str, revision: int, **more: object) -> dict[str, object]:
    return {"kind": "run", "uid": uid, "study": "s", "revision": revision, **more}


def dead_file(book: Path) -> Path:
    folder = spool.folder_of(book)
    folder.mkdir(exist_ok=True)
    return folder / f"{process.here().machine}-{2**22 + 1}-7.jsonl"


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_any_order_and_any_repetition_give_the_newest_row(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    book = ledger.open(tmp_path_factory.mktemp("spool") / "l.db")
    rows = [line(u, r, examples=float(r)) for u in "ab" for r in range(1, 5)]
    for _ in range(data.draw(st.integers(1, 3))):
        some = data.draw(st.lists(st.sampled_from(rows), max_size=8))
        dead_file(book.path).write_text("".join(json.dumps(r) + "\n" for r in some))
        book.take_in()
    dead_file(book.path).write_text("".join(json.dumps(r) + "\n" for r in rows))
    assert {r.uid: r.examples for r in book.study("s")} == {"a": 4.0, "b": 4.0}
    assert not spool.folder_of(book.path).exists()


def test_a_cut_last_line_costs_that_line_only(tmp_path: Path) -> None:
    book = ledger.open(tmp_path / "l.db")
    whole = json.dumps(line("a", 1)) + "\n"
    dead_file(book.path).write_text(whole + json.dumps(line("b", 1))[:20])
    assert [r.uid for r in book.study("s")] == ["a"]


def test_bad_lines_are_named_and_the_file_stays(tmp_path: Path) -> None:
    book = ledger.open(tmp_path / "l.db")
    bad = [json.dumps(line("a", 1)), "{", json.dumps(line("b", 1, role="x")), "[]"]
    dead_file(book.path).write_text("\n".join(bad) + "\n")
    complaints = book.take_in()
    assert [c.split(":")[1] for c in complaints] == ["2", "3", "4"]
    assert [r.uid for r in book.runs()] == ["a"]
    assert dead_file(book.path).exists()


def test_the_file_of_a_living_process_stays(tmp_path: Path) -> None:
    book = ledger.open(tmp_path / "l.db")
    mine = spool.Spool(book.path)
    mine.append(line("a", 1))
    assert [r.uid for r in book.study("s")] == ["a"]
    assert mine.path is not None and mine.path.exists()
    mine.append(line("b", 1))
    assert {r.uid for r in book.study("s")} == {"a", "b"}
    mine.clear()
    mine.close()
    assert not spool.folder_of(book.path).exists()


def test_a_file_of_another_machine_is_left_to_it_while_it_is_fresh(tmp_path: Path) -> None:
    book = ledger.open(tmp_path / "l.db")
    other = dead_file(book.path).with_name(f"{'0' * 12}-1-1.jsonl")
    other.write_text(json.dumps(line("a", 1)) + "\n")
    assert len(book.study("s")) == 1 and other.exists()
    os.utime(other, (1e9, 1e9))
    assert len(book.study("s")) == 1 and not other.exists()


def test_a_file_that_others_removed_is_made_again(tmp_path: Path) -> None:
    book = ledger.open(tmp_path / "l.db")
    mine = spool.Spool(book.path)
    mine.append(line("a", 1))
    assert mine.path is not None
    book.take_in()
    mine.path.unlink()
    mine.append(line("b", 1))
    assert {r.uid for r in book.study("s")} == {"a", "b"}
    mine.clear()
    mine.close()


def test_where_there_is_no_room_beside_the_ledger_another_folder_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    book = tmp_path / "file" / "l.db"  # can never be made
    mine = spool.Spool(book, [Path.cwd()])
    mine.append(line("a", 1))
    assert mine.path is not None and mine.path.is_relative_to(tmp_path / "cwd")
    with pytest.raises(LedgerError):
        database.write(book, [line("b", 1)])
    assert "not in the ledger yet" in ledger.open(book).take_in()[0]
    good = ledger.open(tmp_path / "good.db")
    good.take_in(mine.path)
    assert [r.uid for r in good.study("s")] == ["a"]
    mine.clear()
    mine.close()


def test_where_the_disk_fills_up_the_rest_goes_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = ledger.open(tmp_path / "l.db")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    mine = spool.Spool(book.path, [elsewhere])
    mine.append(line("a", 1))
    first, write = mine.path, os.write

    def full(file: int, data: bytes) -> int:
        if str(Path(f"/proc/self/fd/{file}").readlink()) == str(first):
            return write(file, data[:9])  # what still fits
        return write(file, data)

    monkeypatch.setattr(os, "write", full)
    mine.append(line("b", 1))
    assert mine.path is not None and mine.path.is_relative_to(elsewhere)
    assert first is not None and first.exists()
    assert [r.uid for r in book.study("s")] == ["a"]
    book.take_in(mine.path)
    assert {r.uid for r in book.study("s")} == {"a", "b"}
    mine.clear()
    mine.close()
    assert not first.exists() and not mine.path.exists()
