"""Kernels in the table, the page and the exports: sums add up, unknown stays unknown."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import re
import sys

import numpy as np
import pytest
import synthetic as syn

import picojoule as pj
from picojoule import _trace
from picojoule._runs import profile_of
from picojoule.cli import main
from picojoule.errors import UsageError
from picojoule.kernels import Device, KernelTable, no_runs
from picojoule.reports import _kernels, _lanes, _text, export, html, table

from . import profiles
from .test_reports_html import Page


def written(profile, to):
    out = io.StringIO()
    export(profile, to, out)
    return out.getvalue()


def block_of(profile, **more):
    """The table's part about kernels, as lines."""
    text = table.render(profile, color=False, **{"width": 140, **more})
    return next(b for b in text.split("\n\n") if b.startswith("Kernel")).splitlines()


# ---- the table elsewhere ----


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_the_table_as_a_data_frame(library):
    pytest.importorskip(library)
    kernels = profile_of(traced()).kernels
    frame = getattr(kernels, f"to_{library}")()
    assert list(frame.columns) == list(kernels.columns())
    assert len(frame) == len(kernels)
    assert frame["name"].to_list() == [k.name for k in kernels]
    assert frame["calls"].to_list() == [k.calls for k in kernels]
    assert frame["time_s"].to_list() == [k.time_s for k in kernels]
    assert all(math.isnan(v) for v in frame["flops"].to_list())  # unknown, and no 0


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_missing_data_frame_library_is_named(library, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(pj.MissingExtraError, match=library):
        getattr(profile_of(traced()).kernels, f"to_{library}")()


# ---- runs beside the table ----


def traced(**more):
    rows = syn.kernels(
        (100.2, 100.7, 1, 0), (100.8, 100.9, 1, 0), (101.0, 101.1, 0, 1, 1, 2),
        (101.2, 101.3, 1, 1, 1, 1),
    )  # fmt: skip
    rows["c"][3] |= np.uint64(9 << 32)
    return syn.trace(
        100.0, 102.0, syn.ticks(syn.constant, 100.0, 102.0), paths=[(0, "step")], kernels=rows,
        kernel_classes=[syn.kernel_class("a"), syn.kernel_class("b")],
        tracks=[syn.track(stream=7), syn.track(stream=13)], **more,
    )  # fmt: skip


def test_each_run_names_its_row():
    table = profile_of(traced()).kernels
    assert (table[0].name, table[0].calls) == ("a", 2)
    runs = [
        (table[k].name, table[k].region, table[k].stream, node, round((b - 100 * syn.S) / 1e8))
        for b, _, k, node in table.runs.tolist()
    ]
    assert runs == [
        ("a", ("step",), 7, 0, 2),
        ("a", ("step",), 7, 0, 8),
        ("b", (), 13, 0, 10),
        ("b", ("step",), 13, 9, 12),
    ]
    took = np.zeros(len(table))
    np.add.at(took, table.runs["kernel"], (table.runs["end_ns"] - table.runs["begin_ns"]) * 1e-9)
    assert took == pytest.approx([k.time_s for k in table])


def test_runs_alike_but_for_their_context_stay_apart():
    tracks = [{**syn.track(), "context": c} for c in (1, 2)]
    trace = syn.trace(
        100.0, 102.0, syn.ticks(syn.constant, 100.0, 102.0), paths=[(0, "step")],
        kernels=syn.kernels((100.2, 100.3, 1, 0, 0), (100.4, 100.5, 1, 0, 1)),
        kernel_classes=[syn.kernel_class("a")], tracks=tracks,
    )  # fmt: skip
    assert sorted(profile_of(trace).kernels.runs["kernel"].tolist()) == [0, 1]


def test_runs_come_back_from_the_file(tmp_path):
    _trace.save(tmp_path / "run.pj", traced())
    stored = pj.load(tmp_path / "run.pj").kernels
    assert np.array_equal(stored.runs, profile_of(traced()).kernels.runs)


def test_merging_by_several_things_and_by_op():
    kernels = profiles.kernels().kernels
    both = kernels.by("kernel", "region")
    assert [(k.name, k.region[-1:]) for k in both][:2] == [
        ("ampere::gemm", ("forward",)),
        ("ampere::gemm", ("backward",)),
    ]
    assert {k.name: k.calls for k in kernels.by("op")} == {
        "forward": 400, "backward": 300, "data": 100, "(no region)": 100,
    }  # fmt: skip
    for what in (("kernel",), ("region",), ("op",), ("device",), ("kernel", "region")):
        assert kernels.by(*what).energy_j == pytest.approx(2550)
    with pytest.raises(ValueError, match="not by 'nothing'"):
        kernels.by()


# ---- rows ----


@pytest.mark.parametrize("by", [None, *_kernels.GROUPINGS])
@pytest.mark.parametrize("sort", _kernels.SORTS)
@pytest.mark.parametrize("top", [0, 1, 2, 5, 6, 7, None])
def test_rows_add_up_however_they_are_listed(by, sort, top):
    kernels = profiles.kernels().kernels
    rows = _kernels.rows(kernels, by, sort, top)
    assert sum(r.kernel.calls for r in rows) == kernels.calls == 900
    assert math.fsum(r.kernel.time_s for r in rows) == pytest.approx(6.7)
    assert math.fsum(r.kernel.energy_j for r in rows) == pytest.approx(2550)
    assert math.fsum(r.kernel.energy.std_j for r in rows) == pytest.approx(51)
    whole = len(_kernels.rows(kernels, by, sort, None))
    assert len(rows) == (whole if top is None or top >= whole else top + 1)
    if top is not None and top < whole:
        assert rows[-1].folded == whole - top and rows[-1].name == f"and {whole - top} more"


def test_order():
    kernels = profiles.many_kernels().kernels
    assert [r.name for r in _kernels.rows(kernels, sort="energy")] == ["tiny", "elsewhere"]
    kernels = profiles.kernels().kernels
    by_flops = [r.kernel.flops for r in _kernels.rows(kernels, "kernel", "flops")]
    assert by_flops[:3] == [1500e12, 1e12, 0.0] and all(math.isnan(f) for f in by_flops[3:])
    by_time = [r.kernel.time_s for r in _kernels.rows(kernels, "op", "time")]
    assert by_time == sorted(by_time, reverse=True)


@pytest.mark.parametrize(
    "how", [{"by": "colour"}, {"sort": "name"}, {"top": -1}], ids=["by", "sort", "top"]
)
def test_what_means_nothing_is_refused(how):
    with pytest.raises(UsageError, match=str(next(iter(how.values())))):
        table.render(profiles.kernels(), **how)


# ---- table ----


def test_the_table_says_it_all():
    assert block_of(profiles.kernels()) == [
        "Kernel                Region             Calls    Time  Of busy          Energy  Power  "
        "FLOP/s  FLOP/J  How",
        "ampere::gemm          train / forward      200  3.00 s   46.2 %  1.20 kJ ± 0.11  400 W  "
        " 300 T   750 G  modelled",
        "ampere::gemm          train / backward     200  2.00 s   30.8 %      900 J ± 79  450 W  "
        " 300 T   667 G  modelled",
        "softmax_warp_forward  train / forward      200  700 ms   10.8 %      210 J ± 18  300 W  "
        "     ?       ?  modelled",
        "layer_norm            train / backward     100  500 ms    7.7 %      150 J ± 13  300 W  "
        "2.00 T  6.67 G  modelled",
        "memcpy HtoD           train / data         100  400 ms    6.2 %    60.0 J ± 5.3  150 W  "
        "     -       -  modelled",
        "alert                 (launch not seen)    100  100 ms    1.5 %    30.0 J ± 2.6  300 W  "
        "     ?       ?  modelled",
        "gpu:0 (idle)          (no region)               3.50 s               350 J ± 17  100 W  "
        "     -       -  modelled",
        "?: FLOP not known",
        "of busy: kernels ran at once, so that together they are more than 100 %",
        "gpu:0: busy 65.0 % (6.50 s, 2.55 kJ ± 0.12); idle 3.50 s, 350 J ± 17",
        "FLOP known for 87.3 % of kernel time (formula)",
        "joules of kernels: nvml joules of the device spread over what ran, by time",
    ]


def test_the_rest_is_one_row():
    lines = block_of(profiles.kernels(), top=2)
    words = " ".join(lines[3].split())
    assert words == "and 4 more 500 1.70 s 26.2 % 450 J ± 39 265 W ? ? modelled"
    assert "and" not in " ".join(block_of(profiles.kernels(), top=None)[:8])


def test_a_kernel_of_several_regions_says_how_many():
    lines = block_of(profiles.kernels(), by="kernel")
    assert lines[1].split()[:4] == ["ampere::gemm", "2", "regions", "400"]
    lines = block_of(profiles.kernels(), by="region")
    assert lines[0].startswith("Kernels of region") and lines[1].startswith("train/forward")


def test_without_a_meter_or_flop_it_is_unknown_and_never_zero():
    lines = block_of(profiles.many_kernels())
    text = "\n".join(lines)
    elsewhere = next(line for line in lines if line.startswith("elsewhere"))
    assert elsewhere.split()[-4:] == ["s", "unknown", "unknown", "unknown"]
    assert "gpu:1: no meter covered it" in text
    assert "Of busy" not in text, "the busy time of one device is not known"
    assert "FLOP/s" not in text and "FLOP known for 0 % of kernel time" in text


def test_no_kernels_no_section():
    text = table.render(profiles.training(), width=140, color=False)
    assert "Kernel" not in text and "FLOP" not in text
    assert 'id="kernels"' not in html.render(profiles.training())


@pytest.mark.parametrize("width", [40, 60, 80])
def test_narrow_tables_keep_energy_and_provenance(width):
    for line in block_of(profiles.kernels(), width=width)[1:7]:
        assert _text.cells(line) <= width
        assert re.search(r"\d k?J", line) and line.endswith("modelled")


def test_report_takes_the_options(tmp_path, capsys):
    folder = tmp_path / "run.pj"
    _trace.save(folder, traced())
    assert main(["report", str(folder), "--by", "op", "--sort", "time", "--top", "1"]) == 0
    out = capsys.readouterr().out
    assert "Kernels of op" in out and "and 1 more" in out and "\x1b" not in out
    assert main(["report", str(folder), "--top", "0", "--width", "100"]) == 0
    assert "more" not in capsys.readouterr().out.partition("Kernel ")[2].partition("\n\n")[0]
    assert main(["report", str(folder), "--by", "colour"]) == 2
    assert "colour" in capsys.readouterr().err


# ---- page ----


def test_the_page_lists_kernels_and_devices():
    text = html.render(profiles.kernels())
    page = Page(text)
    for words in (
        "gpu:0: busy 65.0 % (6.50 s, 2.55 kJ ± 0.12); idle 3.50 s, 350 J ± 17",
        "FLOP known for 87.3 % of kernel time (formula).",
        "Joules of kernels: nvml joules of the device spread over what ran, by time.",
        "ampere::gemm",
        "(launch not seen)",
    ):
        assert words in page.text
    rows = re.search(r'id="kernel-table".*?</table>', text, re.S).group().split("<tr")[2:]
    assert len(rows) == 7  # and the idle time
    assert 'title="void ampere::gemm&lt;float, 4&gt;(float*, int)"' in rows[0]
    energies = [re.findall(r'data-v="([^"]*)"', row)[3] for row in rows]
    assert math.fsum(map(float, energies)) == pytest.approx(2550 + 350)
    assert re.search(r'class="c0" width="65%"', text)


def test_kernel_names_stay_text():
    hostile = profiles.kernels()
    text = html.render(hostile)
    page = Page(text)
    assert page.open == [] and "<script>alert" not in text
    assert text.count("<script") == 2 and "&lt;script&gt;alert(1)" in text
    shown = Page(html.render(profiles.hostile()))
    titles = [a["title"] for t, a in shown.elements if t == "th" and "title" in a]
    assert titles.count("<script>alert(1)</script>") == 2, "a region's and a kernel's"


def test_lanes_come_with_the_page():
    page = Page(html.render(profiles.kernels()))
    data = page.data
    assert data["streams"] == [["gpu:0", 7], ["gpu:0", 13]]
    assert len(data["runs"]) == 900 and all(run[4:] == [1, 1.0] for run in data["runs"])
    assert ["ampere::gemm", "train / backward"] in data["kernels"]
    assert "gpu:0: kernels by stream" in page.text
    assert "streams" not in Page(html.render(profiles.training())).data


def test_more_runs_than_pixels_are_density_and_it_is_said():
    profile = profiles.many_kernels(40_000)
    found = _lanes.lanes(profile)
    assert found.binned == 40_000 and found.bin_ns == 10_000_000
    binned = [r for r in found.rectangles if r.lane == 0]
    assert len(binned) == 800 and sum(r.runs for r in binned) == 40_000
    busy = math.fsum(r.share * (r.end_ns - r.begin_ns) for r in binned) * 1e-9
    assert busy == pytest.approx(4.0)
    assert [r.runs for r in found.rectangles if r.lane == 1] == [1]
    page = Page(html.render(profile))
    assert "40,000 runs of kernels are more than there are pixels" in page.text
    assert len(page.data["runs"]) <= _lanes.MOST_RECTANGLES


def test_sums_alone_draw_no_lanes_and_say_so():
    profile = profiles.build(
        kernels=KernelTable(list(profiles.kernels().kernels)),
        power=(profiles.series("gpu:0", "measured", 10, 10.0),),
    )
    page = Page(html.render(profile))
    assert "Kernels were not kept one by one" in page.text and "runs" not in page.data


def runs_of(*entries):
    runs = no_runs(len(entries))
    for row, (begin, end) in zip(runs, entries, strict=True):
        row["begin_ns"], row["end_ns"] = begin, end
    return runs


def test_busy_is_the_union_of_what_ran():
    runs = runs_of((10, 30), (12, 20), (30, 40), (60, 70), (65, 90), (95, 130))
    edges, busy = _lanes.busy_steps(runs, 0, 100, 1000)
    assert edges.tolist() == [0, 10, 40, 60, 90, 95, 100]
    assert busy.tolist() == [0, 1, 0, 1, 0, 1]
    edges, busy = _lanes.busy_steps(runs, 0, 100, 4)
    assert float((busy * np.diff(edges)).sum()) == 65
    assert len(busy) <= 4
    assert _lanes.shares(runs, 0, 100, 2).tolist() == [0.6, 0.7]
    assert _lanes.busy_steps(no_runs(), 0, 100, 10)[1].tolist() == [0]


# ---- roofline ----


class SomePeaks:
    bytes_per_s = 2e12

    def flops_per_s(self, type):
        return {"fp32": 60e12, "tensor-bf16": 900e12}.get(type, math.nan)


def test_roofline_has_only_what_is_known():
    plain = profiles.kernels()
    unheard_of = dataclasses.replace(plain.channels[0], device="board that nobody knows")
    page = Page(html.render(dataclasses.replace(plain, channels=(unheard_of,))))
    dots = [a for t, a in page.elements if t == "circle"]
    assert len(dots) == 3
    assert "3 of 5 kernels; of the others FLOP or bytes are unknown." in page.text
    assert "No ceilings: what the device can do at most is not known here." in page.text
    assert not [a for t, a in page.elements if a.get("class") == "ceiling"]
    assert "150 FLOP/byte" in page.text and "300 TFLOP/s" in page.text


def test_roofline_with_ceilings():
    page = Page(html.render(profiles.kernels(), SomePeaks()))
    assert len([a for t, a in page.elements if a.get("class") == "ceiling"]) == 3
    assert "tensor-bf16 900 TFLOP/s" in page.text and "fp64" not in page.text
    assert "No ceilings" not in page.text


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ({}, "it needs FLOP and the bytes they move,"),
        ({"flops": 1e9}, "it needs the bytes they move,"),
        ({"bytes": 1e9}, "it needs FLOP,"),
        ({"flops": 0.0, "bytes": 1e9}, "it needs FLOP,"),
    ],
)
def test_roofline_says_what_it_lacks(known, words):
    profile = profiles.build(kernels=KernelTable([profiles.kernel("a", 1.0, **known)]))
    page = Page(html.render(profile, SomePeaks()))
    assert words in page.text and "circle" not in {t for t, _ in page.elements}


# ---- exports ----


def test_json_has_kernels_devices_and_runs():
    profile = profiles.kernels()
    found = json.loads(written(profile, "json"))
    assert [k["name"] for k in found["kernels"]] == [k.name for k in profile.kernels]
    assert math.fsum(k["energy"]["joules"] for k in found["kernels"]) == pytest.approx(2550)
    assert found["kernels"][2]["flops"] is None and found["kernels"][0]["grid"] == [128, 2, 1]
    (device,) = found["devices"]
    assert device["idle"]["joules"] == 350 and device["busy_s"] == 6.5
    assert found["kernel_runs"]["kernel"] == profile.kernels.runs["kernel"].tolist()
    unknown = json.loads(written(profiles.many_kernels(10), "json"))["kernels"][1]["energy"]
    assert unknown["joules"] is None and unknown["provenance"] is None


def test_csv_of_kernels_and_idle_adds_up_to_the_device():
    rows = list(csv.DictReader(io.StringIO(written(profiles.kernels(), "csv-kernels"))))
    assert [r["scope"] for r in rows] == ["kernel"] * 6 + ["idle"]
    assert math.fsum(float(r["joules"]) for r in rows) == pytest.approx(2900)
    assert rows[0]["name"] == profiles.GEMM and rows[0]["short_name"] == "ampere::gemm"
    assert (rows[0]["grid"], rows[4]["grid"]) == ("128x2x1", "")
    assert rows[2]["flops"] == "" and rows[4]["flops"] == "0.0"
    assert rows[5]["unmatched"] == "true" and rows[6]["name"] == ""
    rows = list(csv.DictReader(io.StringIO(written(profiles.many_kernels(10), "csv-kernels"))))
    assert rows[1]["joules"] == "" and rows[1]["provenance"] == "unknown"
    rows = list(csv.DictReader(io.StringIO(written(profiles.hostile(), "csv-kernels"))))
    assert sorted(r["name"] for r in rows) == sorted(profiles.HOSTILE)


def events_of(profile):
    return json.loads(written(profile, "chrome"))["traceEvents"]


def test_chrome_has_a_process_for_each_device_after_power():
    events = events_of(profiles.kernels())
    order = {e["pid"]: e["args"]["sort_index"] for e in events if e["name"] == "process_sort_index"}
    assert order == {1: 0, 100: 100}
    named = {(e["pid"], e["tid"]): e["args"]["name"] for e in events if "name" in e.get("args", {})}
    assert named[100, 7] == "stream 7" and named[100, 13] == "stream 13"
    runs = [e for e in events if e["ph"] == "X" and e["pid"] == 100]
    assert len(runs) == 900
    assert math.fsum(e["args"]["joules"] for e in runs) == pytest.approx(2550, rel=1e-6)
    first = runs[0]
    assert first["name"] == "ampere::gemm" and first["cat"] == "kernel" and first["tid"] == 7
    assert first["args"] == {
        "kernel": profiles.GEMM,
        "region": "train/forward",
        "grid": "128x2x1",
        "block": "256x1x1",
        "provenance": "modelled",
        "joules": pytest.approx(6.0),
    }
    assert not {e["ph"] for e in events} & set("stf"), "no flows"


def test_chrome_counts_busy_time():
    profile = profiles.kernels()
    track = [e for e in events_of(profile) if e["name"].startswith("busy gpu:0")]
    ends = [e["ts"] for e in track[1:]] + [profile.duration_s * 1e6]
    busy = math.fsum(
        e["args"]["busy"] * (end - e["ts"]) for e, end in zip(track, ends, strict=True)
    )
    union, until = 0, 0
    for begin, end, _, _ in profile.kernels.runs.tolist():
        union += max(0, end - max(begin, until))
        until = max(until, end)
    assert busy * 1e-6 == pytest.approx(union * 1e-9) and union < 6.7 * profiles.S


def test_runs_over_the_ends_of_a_profile_share_only_what_is_inside():
    kernels = syn.kernels((98.0, 99.0, 1, 0), (99.5, 100.5, 1, 0), (101.8, 103.0, 1, 0))
    trace = syn.trace(
        100.0, 102.0, syn.ticks(syn.constant, 100.0, 102.0), paths=[(0, "step")], kernels=kernels,
        kernel_classes=[syn.kernel_class("a")], tracks=[syn.track()],
    )  # fmt: skip
    runs = [e["args"]["joules"] for e in events_of(profile_of(trace)) if e["ph"] == "X"]
    assert runs == pytest.approx([0.0, 150.0, 60.0], rel=1e-3)


def test_chrome_leaves_unknown_joules_out():
    events = events_of(profiles.many_kernels(10))
    (run,) = [e for e in events if e["ph"] == "X" and e["name"] == "elsewhere"]
    assert "joules" not in run["args"] and run["args"]["provenance"] == "unknown"


def test_parquet_of_kernels_and_runs():
    pq = pytest.importorskip("pyarrow.parquet")
    profile = profiles.kernels()
    out = io.BytesIO()
    export(profile, "parquet-kernels", out)
    found = pq.read_table(out)
    assert math.fsum(found.column("joules").to_pylist()) == pytest.approx(2900)
    out = io.BytesIO()
    export(profile, "parquet-runs", out)
    found = pq.read_table(out)
    rows = found.to_pylist()
    assert len(rows) == 900 and len(out.getvalue()) < 10_000
    joules = math.fsum(r["watts"] * r["duration_ns"] * 1e-9 for r in rows)
    assert joules == pytest.approx(2550)
    assert rows[0]["name"] == profiles.GEMM and rows[0]["begin_ns"] == 100_000_000
    times = found.column("begin_ns").to_numpy() + profile.begin_ns
    assert np.array_equal(times, profile.kernels.runs["begin_ns"])
    for name in ("many_kernels", "hostile", "empty"):
        export(profiles.EVERY[name](), "parquet-runs", io.BytesIO())


def test_a_device_without_time_has_no_bar():
    device = Device("gpu:0", 0.0, 0.0, profiles.modelled(0, 0), profiles.modelled(0, 0))
    profile = profiles.build(kernels=KernelTable([profiles.kernel("a", 0.0)], [device]))
    page = Page(html.render(profile))
    assert not [a for t, a in page.elements if a.get("class") == "busy"]
    assert "busy unknown" in table.render(profile, color=False)
