"""Runs of other tools: what they measured, what they did not, and rows that cannot be."""

from __future__ import annotations

import json
import math
from datetime import datetime
from pathlib import Path

import pytest

from picojoule.errors import UsageError
from picojoule.green import imports, ledger
from picojoule.green.imports import Options

CODECARBON = """\
timestamp,project_name,run_id,experiment_id,duration,emissions,emissions_rate,cpu_power,gpu_power,\
ram_power,cpu_energy,gpu_energy,ram_energy,energy_consumed,country_name,country_iso_code,region,\
cloud_provider,cloud_region,os,python_version,codecarbon_version,cpu_count,cpu_model,gpu_count,\
gpu_model,tracking_mode,on_cloud,pue
2026-01-01T12:00:00,net,aaa,e,1800,0.1,0.1,42,300,10,0.1,0.5,0.1,0.75,United Kingdom,GBR,england,\
,,Linux,3.11.7,3.3.2,16,AMD EPYC,2,2 x NVIDIA A100,machine,N,1.5
2026-01-01T12:30:00,net,aaa,e,3600,0.2,0.1,42,300,10,0.2,1.0,0.2,1.5,United Kingdom,GBR,england,\
,,Linux,3.11.7,3.3.2,16,AMD EPYC,2,2 x NVIDIA A100,machine,N,1.5
2026-01-02T12:00:00,net,bbb,e,60,0.2,0.1,42,0,10,0.2,0,0.2,-1,United Kingdom,GBR,england,\
,,Linux,3.11.7,3.3.2,16,AMD EPYC,,,machine,N,1
2026-01-02T13:00:00,net,ccc,e,60,0.2,0.1,42,0,10,0.01,0,0.01,0.02,Ireland,IRL,,\
aws,eu-west-1,Linux,3.11.7,3.3.2,16,AMD EPYC,,,machine,Y,1
short,row
"""


def test_codecarbon(tmp_path: Path) -> None:
    file = tmp_path / "emissions.csv"
    file.write_text(CODECARBON)
    found = imports.read(file, Options("s", role="final"))
    assert found.tool == "CodeCarbon"
    first, second = found.runs
    # The last row of a tracker has all of it; 1.5 kWh with a PUE of 1.5 in it.
    assert first.energy_j == pytest.approx(3.6e6) and first.energy_provenance == "imported"
    assert "without the PUE 1.5" in first.energy_basis and "3.3.2" in first.energy_basis
    assert first.domain_j["gpu"] == pytest.approx(2.4e6)
    assert (first.duration_s, first.device_count, first.device_name) == (3600, 2, "NVIDIA A100")
    assert first.begin_wall_s == datetime(2026, 1, 1, 11, 30).timestamp()
    assert (first.region, second.region) == ("GBR", "eu-west-1")
    assert (second.device_count, second.device_name) == (1, "AMD EPYC")
    assert first.role == "final" and first.origin == "CodeCarbon, emissions.csv"
    assert [c.split(":")[1] for c in found.complaints] == ["6", "4"]
    assert "energy_consumed is -1 kWh" in found.complaints[1]
    assert "PUE" in found.notes[0]
    again = imports.read(file, Options("s"))
    assert [r.uid for r in again.runs] == [first.uid, second.uid]  # imported twice, there once


SACCT = """\
JobID|JobName|State|Start|ElapsedRaw|AllocTRES|ConsumedEnergyRaw|NodeList|
100|train|COMPLETED|2026-01-01T10:00:00|41400|billing=8,cpu=8,gres/gpu:a100=4,gres/gpu=4,node=1|\
9000000|n1|
100.batch|batch|COMPLETED|2026-01-01T10:00:00|41400|cpu=8,node=1|8999999|n1|
101|train|CANCELLED by 1000|2026-01-02T10:00:00|60|cpu=8,node=2|0|n[1-2]|
101.batch|batch|CANCELLED|2026-01-02T10:00:00|60|cpu=8,node=1|5000|n1|
101.0|srun|CANCELLED|2026-01-02T10:00:00|50|cpu=8,node=2|9000|n[1-2]|
101.extern|extern|COMPLETED|2026-01-02T10:00:00|60|cpu=8,node=2|99999|n[1-2]|
102_3|array|OUT_OF_MEMORY|2026-01-03T10:00:00|10|cpu=1,node=1||n1|
103|now|RUNNING|2026-01-04T10:00:00|10|cpu=1,node=1||n1|
104|odd|COMPLETED|2026-01-04T10:00:00|-5|cpu=1,node=1||n1|
105|max|COMPLETED|2026-01-04T10:00:00|10|cpu=1,node=1|18446744073709551614|n1|
106|date|COMPLETED|yesterday|10|cpu=1,node=1||n1|
"""


def test_slurm(tmp_path: Path) -> None:
    file = tmp_path / "jobs.txt"
    file.write_text(SACCT)
    found = imports.read(file, Options("s"))
    runs = {r.name: r for r in found.runs}
    train, cancelled = (r for r in found.runs if r.name == "train")
    assert (train.energy_j, train.energy_provenance, train.status) == (9e6, "imported", "ok")
    assert (train.duration_s, train.device_count, train.device_name) == (41400, 4, "a100")
    assert train.device_seconds / 3600 == 46.0
    # The job has none: the larger of the batch step and the others, and never extern.
    assert (cancelled.energy_j, cancelled.status) == (9000, "interrupted")
    assert cancelled.device_count == 2
    assert math.isnan(runs["array"].energy_j) and runs["array"].status == "failed"
    assert "recorded no energy" in runs["array"].energy_basis
    assert math.isnan(runs["max"].energy_j)
    assert len(found.runs) == 4
    told = "\n".join(found.complaints)
    for words in ("jobs.txt:9: job 103 is RUNNING", "jobs.txt:10: ElapsedRaw is -5", ":12: 'yest"):
        assert words in told
    assert "shared a node" in found.notes[0]


def test_hours_and_a_power_make_a_modelled_range(tmp_path: Path) -> None:
    file = tmp_path / "jobs.txt"
    file.write_text("JobID|State|Start|Elapsed|AllocTRES\n7|COMPLETED|Unknown|1-02:00:00|node=1\n")
    (run,) = imports.read(file, Options("s", power="200-400 W", device="a server")).runs
    assert run.duration_s == 26 * 3600
    assert run.energy_j == pytest.approx(300 * 26 * 3600)
    assert (run.energy_low_j, run.energy_high_j) == (200 * 26 * 3600, 400 * 26 * 3600)
    assert run.energy_provenance == "modelled" and "no meter" in run.energy_basis
    assert run.device_name == "a server"
    (bare,) = imports.read(file, Options("s")).runs
    assert math.isnan(bare.energy_j) and not bare.energy.known
    for bad in ("300", "a-b W", "0 W", "400-200 W", "3 kg"):
        found = imports.read(file, Options("s", power=bad))
        assert not found.runs and found.complaints


MLFLOW = """\
run_id,experiment_id,status,start_time,end_time,metrics.acc,metrics.val_loss,metrics.kwh,params.lr,\
params.seed,params.opt,tags.mlflow.runName,tags.mlflow.parentRunId
p1,0,FINISHED,2026-01-01 10:00:00+00:00,2026-01-01 12:00:00+00:00,,,,,,,sweep,
r1,0,FINISHED,2026-01-01 10:00:00+00:00,2026-01-01 11:00:00+00:00,0.9,0.1,2,0.1,3,adam,one,p1
r2,0,FAILED,2026-01-01 11:00:00+00:00,2026-01-01 12:00:00+00:00,,,,0.2,4,adam,two,p1
r3,0,RUNNING,2026-01-01 11:00:00+00:00,,,,,0.2,4,adam,three,
r4,0,FINISHED,2026-01-01 11:00:00+00:00,2026-01-01 10:00:00+00:00,,,,0.2,4,adam,four,
"""


def test_mlflow(tmp_path: Path) -> None:
    file = tmp_path / "runs.csv"
    file.write_text(MLFLOW)
    found = imports.read(file, Options("s", energy="kwh:kWh", device_count=1))
    one, two = found.runs
    assert (one.config, one.seed, one.duration_s) == ({"lr": 0.1, "opt": "adam"}, "3", 3600)
    assert one.scores == {"acc": 0.9, "val_loss": 0.1, "kwh": 2.0}
    assert one.score_larger_is_better == {"val_loss": False}
    assert (one.energy_j, one.energy_provenance) == (7.2e6, "imported")
    assert (two.status, math.isnan(two.energy_j)) == ("failed", True)
    assert "p1 only holds others" in found.notes[0]
    assert "runs.csv:5: run r3 is RUNNING" in found.complaints[0]
    assert "runs.csv:6: it ended before it began" in found.complaints[1]
    (scored, _) = imports.read(file, Options("s", scores=("acc",))).runs
    assert scored.scores == {"acc": 0.9} and "measures no energy" in scored.energy_basis


def test_wandb_as_a_table(tmp_path: Path) -> None:
    file = tmp_path / "w.csv"
    file.write_text(
        "Name,State,Created,Runtime,lr,fold,acc,energy_wh\n"
        "a,finished,2026-01-01T10:00:00.000Z,60,0.1,A,0.9,5\n"
        "b,crashed,2026-01-01T10:00:00.000Z,60,0.1,B,,\n"
        "c,running,2026-01-01T10:00:00.000Z,60,0.1,C,,\n"
    )
    found = imports.read(file, Options("s", scores=("acc",), energy="energy_wh:Wh"))
    a, b = found.runs
    assert (a.config, a.fold, a.scores, a.energy_j) == ({"lr": 0.1}, "A", {"acc": 0.9}, 18000)
    assert (b.status, b.scores, math.isnan(b.energy_j)) == ("lost", {}, True)
    assert a.config_hash == b.config_hash
    assert "w.csv:4: the run is running" in found.complaints[0]
    assert "name scores" in imports.read(file, Options("s")).notes[0]


def test_wandb_of_the_api(tmp_path: Path) -> None:
    rows = [
        {
            "id": "x", "name": "a", "state": "finished", "created_at": "2026-01-01T10:00:00Z",
            "config": {"lr": {"value": 0.1}, "seed": 3, "_wandb": {}},
            "summary": {"acc": 0.9, "_runtime": 60, "_step": 5},
            "metadata": {"gpu": "NVIDIA A100", "gpu_count": 4, "host": "n1"},
        }
    ]  # fmt: skip
    file = tmp_path / "w.json"
    file.write_text(json.dumps(rows))
    (run,) = imports.read(file, Options("s")).runs
    assert (run.config, run.seed, run.scores) == ({"lr": 0.1}, "3", {"acc": 0.9})
    assert (run.device_count, run.device_name, run.duration_s) == (4, "NVIDIA A100", 60)
    python = tmp_path / "w.csv"  # as the documentation's own script writes it
    python.write_text("summary,config,name\n\"{'acc': 0.9, '_runtime': 60}\",\"{'lr': 0.1}\",a\n")
    (run,) = imports.read(python, Options("s")).runs
    assert (run.config, run.scores, run.duration_s) == ({"lr": 0.1}, {"acc": 0.9}, 60)


def test_files_of_nobody(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    for text in ("a,b\n1,2\n", "", "just words\n", "[1, 2]", "{"):
        file.write_text(text)
        with pytest.raises(UsageError):
            imports.read(file, Options("s"))
    with pytest.raises(UsageError, match="there are: codecarbon"):
        imports.read(file, Options("s"), "neptune")


def test_imported_runs_go_into_the_ledger_once(tmp_path: Path) -> None:
    file = tmp_path / "jobs.txt"
    file.write_text(SACCT)
    book = ledger.open(tmp_path / "l.db")
    for _ in range(2):
        book.add_all(imports.read(file, Options("s")).runs)
    assert len(book.study("s")) == 4
    assert {r.origin for r in book.study("s")} == {"Slurm, jobs.txt"}
