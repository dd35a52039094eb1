import csv
import io
import json
import math

import pytest

from picojoule.errors import MissingExtraError, UsageError
from picojoule.reports import EXPORTERS, REPORTERS, export, json_

from . import profiles


def text_of(profile, to):
    out = io.StringIO()
    export(profile, to, out)
    return out.getvalue()


def table_of(text):
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.parametrize("to", [n for n in (*EXPORTERS, *REPORTERS) if not n.startswith("parquet")])
@pytest.mark.parametrize("name", profiles.EVERY)
def test_every_format_takes_every_profile(name, to, tmp_path):
    path = tmp_path / "out"
    export(profiles.EVERY[name](), to, path)
    assert path.read_bytes().decode("utf-8")
    assert list(tmp_path.iterdir()) == [path]


def test_an_unknown_format_is_answered_with_the_known_ones():
    with pytest.raises(
        UsageError, match=r"'xls'.*json, csv, csv-readings, csv-kernels, chrome, parquet"
    ):
        export(profiles.empty(), "xls", io.StringIO())


def test_every_format_has_a_summary():
    assert all(summary for summary, _ in (*EXPORTERS.values(), *REPORTERS.values()))


def test_text_goes_to_binary_files_too():
    out = io.BytesIO()
    export(profiles.hostile(), "csv", out)
    assert out.getvalue().decode("utf-8")
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    export(profiles.hostile(), "csv", narrow)


# ---- JSON ----


def numbers(value):
    if isinstance(value, dict):
        if "joules" in value and "provenance" in value:
            yield value
        for inner in value.values():
            yield from numbers(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from numbers(inner)


@pytest.mark.parametrize("name", profiles.EVERY)
def test_json_is_strict_and_complete(name):
    profile = profiles.EVERY[name]()

    def refuse(constant):
        raise AssertionError(constant)

    found = json.loads(text_of(profile, "json"), parse_constant=refuse)
    assert found["schema"] == "picojoule.profile/1"
    assert found["duration_s"] == profile.duration_s
    assert found["counted"] == list(profile.counted)
    assert [tuple(r["path"]) for r in found["regions"]] == [r.path for r in profile.regions]
    assert len(found["readings"]["joules"]) == len(profile.readings)
    assert len(found["spans"]["path"]) == len(profile.spans)
    for energy in numbers(found["energy"]):
        assert energy["provenance"] in (None, "measured", "counted", "modelled", "estimated")
        assert (energy["provenance"] is None) == (energy["joules"] is None)


def test_json_numbers_come_back_as_they_were():
    profile = profiles.training()
    found = json.loads(text_of(profile, "json"))
    assert found["total"]["joules"] == profile.total.joules
    assert [found["total"]["low_j"], found["total"]["high_j"]] == list(profile.total.interval())
    assert found["energy"]["gpu:0/memory"]["counted"] is False
    assert found["readings"]["joules"][0] == profile.readings["joules"][0]
    assert found["power"][1]["provenance"] == "estimated"
    assert None in found["power"][0]["watts"]
    assert found["findings"][1]["remedy"].startswith("sudo")


def test_the_summary_leaves_the_series_out():
    assert "readings" not in json_.to_dict(profiles.training())
    assert json_.to_dict(profiles.empty())["total"]["joules"] is None


# ---- conservation ----


def test_joules_are_the_same_in_every_format():
    profile = profiles.training()
    expected = profile.total.joules
    rows = table_of(text_of(profile, "csv"))
    own = [r for r in rows if r["scope"] == "profile" and r["counted"] == "true"]
    assert math.fsum(float(r["joules"]) for r in own) == pytest.approx(expected)
    for region in profile.regions:
        parts = [
            float(r["joules"])
            for r in rows
            if r["path"] == "/".join(region.path) and r["counted"] == "true"
        ]
        assert math.fsum(parts) == pytest.approx(region.total.joules)
    trace = json.loads(text_of(profile, "chrome"))
    assert trace["otherData"]["total"]["joules"] == pytest.approx(expected)
    found = json.loads(text_of(profile, "json"))
    counted = [found["energy"][d]["joules"] for d in found["counted"]]
    assert math.fsum(counted) == pytest.approx(expected)


def test_the_counter_track_integrates_to_the_readings():
    profile = profiles.training()
    cpu = next(p for p in profile.power if p.domain == "cpu")
    events = json.loads(text_of(profile, "chrome"))["traceEvents"]
    track = [e for e in events if e["ph"] == "C" and "cpu" in e["name"]]
    ends = [e["ts"] for e in track[1:]] + [(profile.end_ns - profile.begin_ns) / 1000]
    joules = math.fsum(
        e["args"]["W"] * (end - e["ts"]) * 1e-6 for e, end in zip(track, ends, strict=True)
    )
    read = profile.readings["joules"][profile.readings["channel"] == 1].sum()
    assert joules == pytest.approx(float(read), rel=1e-6)
    assert cpu.provenance in track[0]["name"]


# ---- CSV ----


def test_csv_has_a_row_for_each_region_and_domain():
    profile = profiles.training()
    rows = table_of(text_of(profile, "csv"))
    assert len(rows) == len(profile.energy) + sum(len(r.energy) for r in profile.regions)
    assert {r["provenance"] for r in rows} == {"measured", "estimated"}
    assert rows[-1]["resolved"] == "true" and rows[-1]["open_at_end"] == "1"


def test_unknown_is_an_empty_cell():
    region = profiles.region("work", {}, ())
    rows = table_of(text_of(profiles.build(regions=profiles.RegionTable([region])), "csv"))
    assert rows[0]["joules"] == "" and rows[0]["provenance"] == "unknown"
    assert rows[0]["duration_s"] == "1.0"


def test_names_survive_csv():
    rows = table_of(text_of(profiles.hostile(), "csv"))
    assert [r["name"] for r in rows if r["scope"] == "region"] == list(profiles.HOSTILE)


def test_readings_as_csv():
    profile = profiles.training()
    rows = table_of(text_of(profile, "csv-readings"))
    assert len(rows) == len(profile.readings)
    assert rows[0]["domain"] == "gpu:0" and rows[0]["provenance"] == "measured"
    assert float(rows[0]["begin_s"]) == 0.0
    assert sum(r["joules"] == "" for r in rows) == 22, "readings lost in the gap"


# ---- Chrome trace ----


def test_chrome_slices_counters_and_names():
    profile = profiles.training()
    trace = json.loads(text_of(profile, "chrome"))
    by = {}
    for event in trace["traceEvents"]:
        by.setdefault(event["ph"], []).append(event)
    assert set(by) == {"M", "X", "C", "i"}
    assert len(by["X"]) == len(profile.spans)
    first = by["X"][0]
    assert (first["name"], first["args"]["path"]) == ("train", "train")
    assert first["ts"] == pytest.approx(0.6e6) and first["dur"] == pytest.approx(44e6)
    assert {e["name"] for e in by["C"]} == {
        "power gpu:0 (W), measured",
        "power cpu (W), estimated",
    }
    assert {e["args"]["name"] for e in by["M"]} >= {"thread 1", "thread 2"}
    assert [e["name"] for e in by["i"]] == ["gap begins: gpu:0", "gap ends: gpu:0"]


def test_chrome_thins_what_no_viewer_draws():
    events = json.loads(text_of(profiles.many_readings(300_000), "chrome"))["traceEvents"]
    values = [e["args"]["W"] for e in events if e["ph"] == "C"]
    assert len(values) <= 100_000
    assert max(values) == 9999.0 and min(values) == 0.25


# ---- Parquet ----


def test_parquet_without_pyarrow_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"picojoule\[parquet\]"):
        export(profiles.empty(), "parquet", io.BytesIO())


def test_parquet_holds_the_rows_of_csv(tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    profile = profiles.training()
    export(profile, "parquet", tmp_path / "run.parquet")
    found = pq.read_table(tmp_path / "run.parquet")
    rows = table_of(text_of(profile, "csv"))
    assert found.num_rows == len(rows)
    assert found.column("joules").to_pylist() == [float(r["joules"]) for r in rows]
    assert found.schema.metadata[b"schema"] == b"picojoule.profile/1"
    export(profiles.hostile(), "parquet", io.BytesIO())
