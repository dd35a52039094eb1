"""Runs in columns are the same runs, and the report made of columns has the sums of its rows."""

from __future__ import annotations

import dataclasses
import math
import random
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ledgers import run, same

from picojoule.errors import UsageError
from picojoule.green import costs, figures, ledger, modelled, report, report_html, report_text
from picojoule.green.columns import Columns, Names
from picojoule.green.model import ROLES, STATUSES, Run, Study


def odd_runs(many: int = 300) -> list[Run]:
    """Every oddity that a ledger may have, mixed at random; unequal begins, so one order."""
    draw = random.Random(5)
    out = []
    for i in range(many):
        joules = draw.choice([math.nan, 0.0, draw.uniform(1e3, 1e7)])
        ranged = draw.random() < 0.5
        config: Any = draw.choice([None, {"lr": i % 7}, {"lr": i % 7, "w": [1]}, [1, 2], "x"])
        out.append(
            run(
                f"{i:032x}",
                study="odd",
                role=draw.choice(ROLES),
                status=draw.choice([s for s in STATUSES if s != "running"]),
                config=config,
                config_hash=f"{hash(str(config)) & 0xFFFF:016x}" if config else "",
                fold=draw.choice(["", "a", "b"]),
                seed=draw.choice(["", "0", "1"]),
                begin_wall_s=1.7e9 + 7.0 * i if i % 50 else math.nan,
                duration_s=draw.choice([math.nan, draw.uniform(1.0, 1e4)]),
                device_count=draw.choice([math.nan, 1.0, 4.0]),
                device_name=draw.choice(["", "NVIDIA A100-SXM4-80GB", "TPU v3"]),
                energy_j=joules,
                energy_low_j=0.9 * joules if ranged else math.nan,
                energy_high_j=1.2 * joules if ranged else math.nan,
                energy_provenance=draw.choice(["measured", "imported", "modelled", "estimated"]),
                energy_basis=draw.choice(["", "counter", "a \N{SNOWMAN}, \"quoted\" | 'basis'"]),
                flops=draw.choice([math.nan, 1e15]),
                examples=draw.choice([math.nan, 5e4]),
                dataset_size=draw.choice([math.nan, 1e4]),
                scores=draw.choice([{}, {"acc": draw.random()}, {"acc": math.nan, "f1": 0.5}]),
                score_larger_is_better=draw.choice([{}, {"acc": True}]),
                domain_j={"cpu": 1.0} if i % 3 else {},
                devices=("GPU-1",) if i % 2 else (),
                origin=draw.choice(["recorded", "codecarbon emissions.csv"]),
                region=draw.choice(["", "GBR", "SWE"]),
                host=draw.choice(["a", "b"]),
                git_dirty=draw.choice([None, True, False]),
                versions={"python": "3.11"} if i % 5 else {},
            )
        )
    return out


def kept(folder: Path, runs: list[Run], **settings: Any) -> ledger.Ledger:
    book = ledger.open(folder / "l.db")
    book.add_all(runs)
    book.set("odd", **settings)
    return book


def in_order(runs: list[Run]) -> list[Run]:
    timed = [r for r in runs if not math.isnan(r.begin_wall_s)]
    return [*timed, *(r for r in runs if math.isnan(r.begin_wall_s))]


def equal(a: Any, b: Any) -> bool:
    """As ``==``, through dataclasses and arrays, with nan equal to nan."""
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    if dataclasses.is_dataclass(a):
        names = [f.name for f in dataclasses.fields(a)]
        return type(a) is type(b) and all(equal(getattr(a, n), getattr(b, n)) for n in names)
    if isinstance(a, (tuple, list)):
        return len(a) == len(b) and all(map(equal, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(equal(a[k], b[k]) for k in a)
    return bool(a == b or (a != a and b != b))


def test_runs_of_columns_are_those_that_went_in(tmp_path: Path) -> None:
    runs = odd_runs()
    read = kept(tmp_path, runs).study("odd")
    wanted = in_order(runs)
    assert same(read[7], wanted[7]) and same(read[-1], wanted[-1])  # one by one, and all at once
    assert all(map(same, read[3:9], wanted[3:9]))
    assert len(read) == len(wanted) and all(map(same, read, wanted))
    assert same(read[7], wanted[7])
    some = [r for r in wanted if r.role == "final" and r.fold == "a"]
    assert some and all(map(same, read.where(role="final", fold="a"), some))


@pytest.mark.parametrize("search", [None, "random"])
def test_the_report_of_columns_is_that_of_runs(tmp_path: Path, search: str | None) -> None:
    runs = odd_runs()
    settings = {"region": "FRA", "pue": 1.2, "search": search, "price_per_device_hour": "2 USD/h"}
    book = kept(tmp_path, runs, **settings)
    slow = report.of(Study("odd", in_order(runs), settings), score="acc")
    fast = report.of(book.study("odd", report.FIELDS), score="acc")
    assert equal(fast, slow)
    assert report_text.render(fast) == report_text.render(slow)
    assert report_html.render(fast) == report_html.render(slow)


def test_the_report_has_the_sums_of_the_rows(tmp_path: Path) -> None:
    runs = odd_runs()
    r = report.of(kept(tmp_path, runs).study("odd", report.FIELDS), score="acc")
    known = [x for x in runs if not math.isnan(x.energy_j)]
    assert r.edh.known.value == pytest.approx(math.fsum(x.energy_j for x in known))
    assert not r.edh.total.known and r.edh.unknown_runs == len(runs) - len(known)
    failed = [x for x in runs if x.failed]
    assert (r.edh.failed.runs, r.counts.failed) == (len(failed), len(failed))
    spent = [x.energy_j for x in failed if not math.isnan(x.energy_j)]
    assert r.edh.failed.cost.value == pytest.approx(math.fsum(spent))
    final = [x for x in runs if x.role == "final" and x.status == "ok" and x.scores]
    acc = [x.scores["acc"] for x in final if math.isfinite(x.scores.get("acc", math.nan))]
    told = next(s for s in r.scores if s.name == "acc")
    assert (told.count, told.mean) == (len(acc), pytest.approx(np.mean(acc)))
    assert [x.uid for x in figures.reported(Study("odd", runs))] == [x.uid for x in final]
    searched = [x for x in runs if x.role in ("tune", "final", "ablation")]
    assert r.edh.configs == len({x.config_hash for x in searched} - {""})
    assert sum(p.runs for p in r.parts) == len(runs)


def test_runs_still_open_and_inside_others(tmp_path: Path) -> None:
    """What is not asked for by name is read all the same where a run has to be looked into."""
    runs = [
        run("a" * 32, study="odd", status="running", host="elsewhere", heartbeat_wall_s=1.7e9),
        run("b" * 32, study="odd", energy_j=5.0, begin_wall_s=1.8e9),
    ]
    found = kept(tmp_path, runs).study("odd", report.FIELDS)
    assert [r.status for r in found] == ["lost", "ok"]
    assert report.of(found).counts.by_status == {"lost": 1, "ok": 1}


def test_what_was_not_read_is_no_default(tmp_path: Path) -> None:
    found = kept(tmp_path, odd_runs(3)).study("odd", ("uid", "begin_wall_s", "energy_j"))
    assert found.columns.numbers("energy_j").shape == (3,)
    with pytest.raises(UsageError, match=r"versions of the runs was not read"):
        found.columns.column("versions")
    with pytest.raises(UsageError, match="was not read"):
        list(found)


def test_modelled_energy_is_that_of_each_run(tmp_path: Path) -> None:
    """Nameplate x share x device-seconds, for runs without a measured energy on that device."""
    device = "NVIDIA A100-SXM4-80GB"
    runs = in_order(odd_runs())
    found = modelled.on_device(kept(tmp_path, runs).study("odd", report.FIELDS), device)
    for old, name, joules, basis in zip(
        runs,
        found.columns.column("device_name"),
        found.columns.column("energy_j"),
        found.columns.column("energy_basis"),
        strict=True,
    ):
        if not math.isnan(old.energy_j) or old.device_name == "TPU v3":
            assert (name, basis) == (old.device_name, old.energy_basis)
            assert equal(joules, old.energy_j)
        else:
            wanted = modelled.energy(device, old.device_seconds)
            assert (name, basis) == (device, wanted.basis)
            assert joules == pytest.approx(wanted.value, nan_ok=True)


def test_names() -> None:
    names = Names(["b", "a", "b", "", "c"])
    assert names.distinct == ("b", "a", "", "c")
    assert names.being("b", "c").tolist() == [True, False, True, False, True]
    assert names.counts(np.array([1, 0, 1, 1, 0], bool)) == {"b": 2, "": 1}
    assert names.among(np.array([0, 1, 0, 0, 1], bool)) == ("a", "c")
    both = names.renamed(lambda name: "x" if name in "ab" else name)
    assert [both.distinct[i] for i in both.codes] == ["x", "x", "x", "x", "c"]
    assert Names([]).being("a").tolist() == [] and Names([]).among(np.zeros(0, bool)) == ()


def test_columns_of_columns() -> None:
    runs = odd_runs(40)
    base = Columns(40, Columns.of_runs(runs)._told)
    other = run("f" * 32, fold="new")
    changed = base.replaced({3: other, 30: other})
    assert [i for i, f in enumerate(changed.column("fold")) if f == "new"] == [3, 30]
    part = changed.where([30, 2]).where([0])
    assert (list(part.column("fold")), list(part.at("uid", [0]))) == (["new"], ["f" * 32])
    assert base.column("fold")[3] == runs[3].fold


def test_a_range_that_does_not_hold_its_value_is_widened_and_told(tmp_path: Path) -> None:
    """Nothing of picojoule writes such a row, but a ledger is a file that others may edit."""
    book = kept(tmp_path, [run("a" * 32, study="odd", energy_j=10.0), run("b" * 32, study="odd")])
    with sqlite3.connect(book.path) as file:
        file.execute("UPDATE runs SET energy_low_j = 20, energy_high_j = 30 WHERE energy_j = 10")
    found = book.study("odd")
    one = found[0].energy
    assert (one.value, one.low, one.high) == (10.0, 10.0, 30.0)
    assert "20 to 30 J, which does not hold it" in one.basis
    summed = costs.of(found).known_sum()
    assert (summed.value, summed.low, summed.high) == (10.0, 10.0, 30.0)
    assert "ranges of 1 runs (aaaaaaaa, ...) did not hold their value" in summed.basis
    assert book.studies()[0].energy.value == 10.0
    assert report.of(found).edh.known.range_in("J") == (10.0, 30.0)


def test_a_run_that_cannot_be_is_named(tmp_path: Path) -> None:
    wrong = run("b" * 32, study="odd", energy_j=10.0, energy_low_j=20.0, energy_high_j=30.0)
    with pytest.raises(UsageError, match=r"run 'b+' of 'odd': energy_j=10.0 does not lie in"):
        kept(tmp_path, [run("a" * 32, study="odd"), wrong])
    assert not (tmp_path / "l.db").exists()
