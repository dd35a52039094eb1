"""Each reader against a file with a GPU in it whose answers are known."""

import contextlib
import copy
import json
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from picojoule import importers
from picojoule.importers import _protobuf
from picojoule.importers.timeline import GRAPH, UNMATCHED, WAITING

from . import foreign_files as ff


def by_name(timeline, name):
    """The kernels of that class name."""
    numbers = [n for n, c in enumerate(timeline.classes) if c["name"] == name]
    return timeline.kernels[np.isin(timeline.kernels["kernel_class"], numbers)]


def paths(timeline, kernels):
    return [timeline.path_names(p) for p in kernels["path"]]


def read_json(tmp_path, document, **options):
    path = tmp_path / "trace.json"
    path.write_text(json.dumps(document))
    return importers.read(path, **options)


# ---- kineto ----


def test_kineto_kernels_go_to_the_region_that_launched_them(tmp_path):
    got = read_json(tmp_path, ff.kineto())
    assert got.clock == "realtime" and got.source == "PyTorch Kineto"
    gemm = by_name(got, "gemm")
    # They ran after their region had ended, and still belong to it.
    assert paths(got, gemm) == [(f"step_{n}", "forward") for n in range(3)]
    assert gemm["begin_ns"][0] == ff.KINETO_BASE + 950_125
    assert gemm["end_ns"][0] == ff.KINETO_BASE + 990_125
    first = got.classes[gemm["kernel_class"][0]]
    assert first["grid"] == (4, 2, 1) and first["block"] == (128, 1, 1)
    assert first["dynamic_shared"] == 1024 and first["kind"] == "kernel"
    assert got.tracks[gemm["track"][0]] == {
        "domain": "gpu:0", "device": "NVIDIA H100 80GB HBM3", "context": 1, "stream": 7,
    }  # fmt: skip


def test_kineto_backward_kernels_go_to_the_step_in_backward_now(tmp_path):
    got = read_json(tmp_path, ff.kineto())
    backward = by_name(got, "gemm_backward")
    assert paths(got, backward) == [(f"step_{n}", "backward") for n in range(3)]
    assert set(backward["flags"]) == {WAITING}


def test_kineto_backward_without_arrows(tmp_path):
    trace = ff.kineto()
    trace["traceEvents"] = [e for e in trace["traceEvents"] if e["cat"] != "fwdbwd"]
    got = read_json(tmp_path, trace)
    assert paths(got, by_name(got, "gemm_backward")) == [
        (f"step_{n}", "backward") for n in range(3)
    ]


def test_kineto_graphs_copies_and_what_has_no_launch(tmp_path):
    got = read_json(tmp_path, ff.kineto())
    a, b = by_name(got, "node_a"), by_name(got, "node_b")
    assert (a["graph_node"][0], b["graph_node"][0]) == (1, 2)  # 64-bit ids, renumbered
    assert a["flags"][0] == GRAPH and paths(got, a) == [("step_2",)]
    (copied,) = by_name(got, "Memcpy HtoD (Pinned -> Device)")
    assert got.classes[copied["kernel_class"]]["bytes"] == 4096
    assert copied["flags"] == UNMATCHED and copied["path"] == 0
    text = " ".join(got.notes)
    assert "1 kernels ended before they began" in text
    assert "1 of 9 kernels have no launch" in text


def test_kineto_launch_found_by_its_op(tmp_path):
    trace = ff.kineto()
    trace["traceEvents"] = [e for e in trace["traceEvents"] if e["cat"] != "cuda_runtime"]
    for event in trace["traceEvents"]:
        if event["name"] == "gemm":
            event["args"]["External id"] = event["args"]["correlation"]
    got = read_json(tmp_path, trace)
    assert paths(got, by_name(got, "gemm")) == [(f"step_{n}", "forward") for n in range(3)]


def test_kineto_ops_on_request(tmp_path):
    got = read_json(tmp_path, ff.kineto(), ops=True)
    assert paths(got, by_name(got, "gemm"))[0] == ("step_0", "forward", "aten::mm")
    names = paths(got, by_name(got, "gemm_backward"))[0]
    assert names[:2] == ("step_0", "backward") and "MmBackward0" in names[2]


def test_kineto_old_files_have_absolute_times(tmp_path):
    trace = ff.kineto()
    del trace["baseTimeNanoseconds"]
    relative = read_json(tmp_path, trace)
    assert relative.clock == "relative"
    for event in trace["traceEvents"]:
        # With ns, as text: a float could not hold this, and Kineto writes all digits.
        event["ts"] = f"{1_790_857_026_000_000 + int(event['ts'])}.123"
    path = tmp_path / "old.json"
    path.write_text(re.sub(r'"(\d+\.123)"', r"\1", json.dumps(trace)))
    got = importers.read(path)
    assert got.clock == "realtime"
    assert set(got.kernels["begin_ns"] % 1000) == {123}


# ---- Nsight Systems ----


@pytest.fixture
def report(tmp_path):
    path = tmp_path / "report.sqlite"
    ff.nsys(path)
    return path


def test_nsys_kernels_regions_and_clock(report):
    got = importers.read(report)
    assert got.clock == "realtime" and got.source == "Nsight Systems"
    kernels = by_name(got, "gemm<float>")
    assert paths(got, kernels) == [
        ("step_0", "forward"),
        ("step_0", "backward"),
        ("step_1", "forward"),
        ("step_1", "backward"),
    ]
    assert kernels["flags"].tolist() == [0, WAITING, 0, WAITING]
    assert kernels["begin_ns"][0] == ff.NSYS_START + 240
    made = got.classes[kernels["kernel_class"][0]]
    assert made["grid"] == (2, 3, 1) and made["block"] == (64, 1, 1)
    assert (made["static_shared"], made["dynamic_shared"]) == (512, 256)
    assert got.tracks[kernels["track"][0]]["device"] == "NVIDIA A100"
    copies = by_name(got, "Memcpy HtoD")
    assert paths(got, copies) == [("step_0",), ("step_1",)]
    assert got.classes[copies["kernel_class"][0]]["bytes"] == 4096
    assert set(by_name(got, "Memset")["flags"]) == {UNMATCHED}
    assert set(got.spans["thread"]) == {4242}
    text = " ".join(got.notes)
    assert "1 NVTX ranges were never closed" in text and "2 ranges of single torch ops" in text


def test_nsys_ops_on_request(report):
    got = importers.read(report, ops=True)
    first = paths(got, by_name(got, "gemm<float>"))[0]
    assert first == ("step_0", "forward", "aten::mm, op_id = 3")


@pytest.mark.parametrize(
    "table",
    [
        "StringIds", "ThreadNames", "TARGET_INFO_SESSION_START_TIME", "TARGET_INFO_GPU",
        "NVTX_EVENTS", "CUPTI_ACTIVITY_KIND_RUNTIME", "CUPTI_ACTIVITY_KIND_KERNEL",
        "CUPTI_ACTIVITY_KIND_MEMCPY", "CUPTI_ACTIVITY_KIND_MEMSET",
    ],
)  # fmt: skip
def test_nsys_without_a_table(tmp_path, table):
    ff.nsys(tmp_path / "r.sqlite", without=[table])
    got = importers.read(tmp_path / "r.sqlite")
    assert (got.clock == "relative") == ("SESSION_START" in table)
    if table in ("StringIds", "ThreadNames", "NVTX_EVENTS", "CUPTI_ACTIVITY_KIND_RUNTIME"):
        assert any(table in note for note in got.notes)
    assert len(got.kernels) == {"KERNEL": 4, "MEMCPY": 6, "MEMSET": 6}.get(
        table.rsplit("_", 1)[-1], 8
    )


# ---- XPlane ----


def test_xplane_kernels_scopes_and_clock(tmp_path):
    path = tmp_path / "vm.xplane.pb"
    path.write_bytes(ff.xplane())
    got = importers.read(path)
    assert got.clock == "realtime" and got.source == "JAX xplane"
    (fusion,) = by_name(got, "fusion_3 [jit_step/fusion.3]")
    assert got.path_names(fusion["path"]) == ("train", "layer")
    assert fusion["begin_ns"] == ff.XPLANE_START + 2000 + 1500
    assert fusion["end_ns"] == ff.XPLANE_START + 2000 + 2200
    made = got.classes[fusion["kernel_class"]]
    assert made["grid"] == (8, 1, 1) and made["block"] == (256, 1, 1)
    assert (made["static_shared"], made["dynamic_shared"]) == (64, 128)
    (copied,) = by_name(got, "MemcpyH2D")
    assert got.classes[copied["kernel_class"]]["kind"] == "memcpy"
    assert got.classes[copied["kernel_class"]]["bytes"] == 2048
    assert got.path_names(copied["path"]) == () and not copied["flags"]
    assert got.tracks[copied["track"]] == {
        "domain": "gpu:0", "device": "NVIDIA H100", "context": 0, "stream": 14,
    }  # fmt: skip
    assert len(got.kernels) == 2  # the derived line is not counted again
    assert len(got.spans) == 1 and got.path_names(got.spans["path"][0]) == ("train",)
    assert any("XLA Ops" in note for note in got.notes)


@given(st.integers(0, (1 << 64) - 1), st.binary(max_size=4))
def test_varints(value, tail):
    data = ff.varint(value) + tail
    got, at = _protobuf.varint(data, 0)
    assert got == value and data[at:] == tail
    with pytest.raises(_protobuf.WireError):
        _protobuf.varint(data[: at - 1], 0)


@given(st.integers(-(1 << 63), (1 << 63) - 1))
def test_signed_varints(value):
    ((number, got),) = _protobuf.fields(ff.message((9, value)))
    assert number == 9 and _protobuf.signed(got) == value


wire = st.tuples(
    st.integers(1, 1 << 20),
    st.integers(0, (1 << 64) - 1) | st.binary() | st.floats(allow_nan=False),
)


@given(st.lists(wire, max_size=8))
def test_messages(rows):
    found = list(_protobuf.fields(ff.message(*rows)))
    assert [n for n, _ in found] == [n for n, _ in rows]
    for (_, got), (_, value) in zip(found, rows, strict=True):
        assert (_protobuf.double(got) if isinstance(value, float) else got) == value


@given(st.binary(max_size=40))
def test_any_bytes_are_a_message_or_a_wire_error(data):
    with contextlib.suppress(_protobuf.WireError):
        list(_protobuf.fields(data))


# ---- hatchet ----


def test_hatchet_totals(tmp_path):
    got = read_json(tmp_path, ff.hatchet())
    assert got.source == "Proton hatchet" and not len(got.kernels) and not len(got.spans)
    gemm, relu, loaded = got.cells
    assert got.path_names(gemm["path"]) == ("step",)
    assert got.classes[gemm["class"]]["name"] == "gemm"
    assert got.tracks[gemm["track"]]["device"] == "CUDA (arch 90)"
    assert (gemm["count"], gemm["time_ns"]) == (4, 1000)
    assert (gemm["flops"], gemm["bytes"]) == (2e9, 4096)
    assert math.isnan(relu["flops"]) and math.isnan(relu["bytes"])  # unknown is never 0
    assert got.path_names(loaded["path"]) == ("loaded",) and loaded["class"] is None
    assert loaded["bytes"] == 77


def test_hatchet_deeper_than_the_stack(tmp_path):
    # json itself has a limit; what it can read, the tree must take.
    tree = ff.hatchet()
    node = leaf = copy.deepcopy(tree[0]["children"][0])
    for _ in range(150):
        leaf["children"] = [copy.deepcopy(ff.hatchet()[0]["children"][0])]
        leaf = leaf["children"][0]
    tree[0]["children"] = [node]
    assert read_json(tmp_path, tree).paths[-1][1] == "step"
