"""FLOPs of a profile: costs looked at once, times what ran; unknown stays unknown."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import synthetic as syn
from hypothesis import given
from hypothesis import strategies as st

from picojoule._runs import profile_of
from picojoule.flops.cost import Cost
from picojoule.flops.work import (
    CAPTURED,
    OP_MARK,
    KernelCost,
    OpRow,
    Window,
    Work,
    from_json,
    to_json,
)

S = 1_000_000_000
MM = Cost(2000.0, 300.0, "fp32", "aten", "matmul")
ADD = Cost(10.0, 120.0, "fp32", "aten", "elementwise")
OPAQUE = Cost(math.nan, math.nan, "", "aten", "opaque")


def window(rows, calls, begin=100.0, end=100.5, **more):
    return Window(round(begin * S), round(end * S), tuple(rows), calls, **more)


def profile(work, *, kernels=None, paths=((0, "step"),), cells=(), name="", **more):
    trace = syn.trace(
        100.0, 102.0, syn.ticks(syn.constant, 100.0, 102.0), paths=list(paths),
        cells_=syn.cells(*cells), kernels=kernels, name=name, **more,
    )  # fmt: skip
    trace.environment = {"host": "synthetic", "work": json.loads(json.dumps(to_json(work)))}
    return profile_of(trace)


def regions(*entries):
    """Cells of regions that were closed: (path, seconds, calls)."""
    return [(101 * S, path, round(s * S), calls, calls) for path, s, calls in entries]


costs = st.builds(
    Cost,
    st.floats(0, 1e30) | st.just(math.nan),
    st.floats(0, 1e30) | st.just(math.nan),
    st.sampled_from(["fp32", "tensor-bf16", ""]),
    st.sampled_from(["aten", "user", "counter"]),
    st.sampled_from(["matmul", "opaque"]),
    st.text(max_size=5),
)
names = st.lists(st.text(max_size=4), max_size=3).map(tuple)
shapes = st.tuples(*[st.integers(1, 2**31)] * 3)
works = st.builds(
    Work,
    st.lists(
        st.builds(
            Window,
            st.integers(0, 2**62),
            st.integers(0, 2**62),
            st.lists(
                st.builds(OpRow, st.text(), st.text(), names, st.integers(1, 99), costs), max_size=3
            ).map(tuple),
            st.dictionaries(names, st.integers(0, 99), max_size=3),
            names,
        ),
        max_size=2,
    ).map(tuple),
    st.lists(
        st.builds(
            KernelCost, st.text(), costs, st.none() | shapes, st.none() | shapes, st.none() | names
        ),
        max_size=3,
    ).map(tuple),
    names,
)


@given(works)
def test_a_trace_keeps_all_of_it(work):
    stored = json.loads(json.dumps(to_json(work), allow_nan=False))
    assert repr(from_json(stored)) == repr(work)  # nan is not equal to itself


def test_what_a_newer_version_wrote_is_a_note():
    assert from_json({"version": 99}).notes
    assert not from_json(None)


def test_a_region_costs_the_same_each_time_it_is_called():
    # One call of "step" was looked at, 40 ran: 2 matmuls and an addition each.
    rows = [OpRow("aten.mm", "8x8", ("step",), 2, MM), OpRow("aten.add", "8", ("step",), 1, ADD)]
    found = profile(Work((window(rows, {("step",): 1}),)), cells=regions((1, 1.5, 40))).flops
    assert found.model == 40 * (2 * 2000 + 10)
    assert found.bytes == 40 * (2 * 300 + 120)
    assert found.by_type == {"fp32": 40 * 4010}
    assert found.sources == ("aten",) and found.unknown == ()
    assert math.isnan(found.executed)
    # 1.5 of the 2 s are inside the region; of the rest nothing is known, nor is the window's share
    # of it, which its one call of 37.5 ms leaves.
    outside = 0.5 - 1.5 / 40
    assert found.coverage_time == pytest.approx((1.5 + outside) / 2.0)


def test_two_windows_give_the_mean_call():
    one = window([OpRow("aten.mm", "s", ("step",), 1, MM)], {("step",): 1})
    two = window([OpRow("aten.mm", "s", ("step",), 6, MM)], {("step",): 2}, 101, 101.5)
    found = profile(Work((one, two)), cells=regions((1, 1.5, 30)))
    assert found.flops.model == pytest.approx(30 * 7 / 3 * 2000)
    assert "mean of 3 calls" in found.flops.regions[0].basis


def test_an_unknown_op_makes_its_region_unknown_and_not_zero():
    rows = [
        OpRow("aten.mm", "s", ("step",), 1, MM),
        OpRow("my.op", "s", ("step", "inner"), 3, OPAQUE),
    ]
    work = Work((window(rows, {("step",): 1, ("step", "inner"): 3}),))
    found = profile(
        work, paths=[(0, "step"), (1, "inner")], cells=regions((1, 1.5, 10), (2, 1.0, 30))
    ).flops
    inner = next(r for r in found.regions if r.path == ("step", "inner"))
    assert math.isnan(inner.flops) and found.unknown == ("my.op",)
    assert found.model == 10 * 2000  # what is known; the coverage says how much that is
    assert found.coverage_time < 0.5 + 0.26


def test_ops_outside_of_regions_count_for_the_window_only():
    rows = [OpRow("aten.mm", "s", (), 5, MM)]
    found = profile(Work((window(rows, {}),))).flops
    assert found.model == 5 * 2000
    assert found.coverage_time == pytest.approx(0.25)  # 0.5 s of 2 s
    assert found.coverage_energy == pytest.approx(0.25, rel=1e-3)


def test_the_own_region_of_a_named_profile_is_left_out_of_paths():
    rows = [OpRow("aten.mm", "s", ("train", "step"), 1, MM)]
    work = Work((window(rows, {("train",): 0, ("train", "step"): 1}),))
    found = profile(
        work,
        name="train",
        paths=[(0, "train"), (1, "step")],
        cells=[*regions((2, 1.0, 10)), (101 * S, 1, 2 * S, 1, 0)],
        kernels=syn.kernels((100.1, 100.2, 2, 0)),
        kernel_classes=[syn.kernel_class("gemm")],
        tracks=[syn.track()],
    )
    assert found.flops.model == 10 * 2000
    assert found.kernels[0].region == ("step",)
    assert found.regions["step"].calls == 10


GEMM, HELPER, OTHER = (syn.kernel_class(n) for n in ("gemm", "reduce", "other"))


def gpu(work, kernels, paths):
    return profile(
        work,
        kernels=syn.kernels(*kernels),
        paths=paths,
        kernel_classes=[GEMM, HELPER, OTHER],
        tracks=[syn.track()],
    )


def test_launches_carry_the_cost_of_the_op_that_launched_their_like():
    # In the window each op is a node of its own below its region. Each aten.mm launched a gemm and
    # a helper; afterwards 8 more of each ran, and a kernel that nobody knows.
    paths = [(0, "step"), (1, OP_MARK + "aten.mm|8x8")]
    seen = [(100.00, 100.02, 2, 0), (100.02, 100.025, 2, 1)]
    later = [(100.1 + 0.1 * i, 100.12 + 0.1 * i, 1, 0) for i in range(8)]
    later += [(100.12 + 0.1 * i, 100.125 + 0.1 * i, 1, 1) for i in range(8)]
    later += [(101.5, 101.6, 1, 2)]
    work = Work((window([OpRow("aten.mm", "8x8", ("step",), 1, MM)], {("step",): 1}),))
    found = gpu(work, sorted(seen + later), paths)
    by_name = {k.name: k for k in found.kernels}
    assert len(found.kernels) == 3  # those of the window and those of later are one row
    assert by_name["gemm"].flops == 9 * 2000 and by_name["gemm"].calls == 9
    assert by_name["gemm"].bytes == 9 * 300 and by_name["gemm"].flops_source == "aten"
    assert by_name["reduce"].flops == 0.0
    assert math.isnan(by_name["other"].flops) and by_name["other"].op == ""
    assert {by_name[n].op for n in ("gemm", "reduce")} == {"aten.mm"}
    assert {k.region for k in found.kernels} == {("step",)}
    assert found.flops.model == 9 * 2000
    busy = 9 * 0.025 + 0.1
    assert found.flops.coverage_time == pytest.approx(9 * 0.025 / busy)
    assert [r.path for r in found.regions] == []  # an op is no region
    # Each run still belongs to its row.
    runs = found.kernels.runs
    for run in runs:
        ns = int(run["end_ns"] - run["begin_ns"])
        k = found.kernels[int(run["kernel"])]
        assert k.least_s * 1e9 - 2 <= ns <= k.most_s * 1e9 + 2
    assert np.bincount(runs["kernel"]).tolist() == [k.calls for k in found.kernels]
    ops = found.kernels.by("op")
    assert {k.name for k in ops} == {"aten.mm", "step"}


def test_an_op_looked_at_while_captured_costs_at_every_replay():
    # Two mm of one shape were captured while ops were looked at; the graph ran 50 times since.
    paths = [
        (0, "train"), (1, "decode"), (2, CAPTURED), (3, "capture"), (4, OP_MARK + "aten.mm|8x8"),
    ]  # fmt: skip
    seen = [(100 + 0.01 * i, 100.004 + 0.01 * i, 5, 0) for i in range(100)]
    rows = [OpRow("aten.mm", "8x8", ("train", "capture"), 2, MM)]
    work = Work((window(rows, {("train", "capture"): 1}),))
    found = gpu(work, seen, paths)
    (gemm,) = found.kernels
    assert gemm.region == ("train", "decode", CAPTURED, "capture") and gemm.op == "aten.mm"
    assert gemm.calls == 100 and gemm.flops == 100 * 2000
    assert found.flops.model == 100 * 2000


def test_shapes_of_one_kernel_share_the_ops_they_served():
    # The same kernel served two ops of different cost: each launch is worth their mean.
    paths = [(0, "step"), (1, OP_MARK + "aten.mm|a"), (1, OP_MARK + "aten.mm|b")]
    kernels = [(100.0, 100.1, 2, 0), (100.2, 100.3, 3, 0), (100.5, 100.6, 1, 0)]
    small = replace(MM, flops=1000.0)
    rows = [OpRow("aten.mm", "a", ("step",), 1, MM), OpRow("aten.mm", "b", ("step",), 1, small)]
    found = gpu(Work((window(rows, {("step",): 1}),)), kernels, paths)
    assert found.kernels[0].calls == 3 and found.kernels[0].flops == pytest.approx(3 * 1500)


def test_a_user_says_what_a_kernel_costs_and_a_counter_what_it_did():
    told = Cost(5000.0, 64.0, "tensor-bf16", "user", "opaque")
    counted = Cost(5200.0, 80.0, "tensor-bf16", "counter", "opaque")
    work = Work(
        kernels=(
            KernelCost("gemm", replace(told, flops=1.0)),
            KernelCost("gemm", told, grid=(8, 1, 1), block=(128, 1, 1)),
            KernelCost("gemm", replace(told, flops=2.0), grid=(9, 1, 1)),
            KernelCost("gemm", counted),
            KernelCost("other", replace(told, flops=7.0), region=("elsewhere",)),
        )
    )
    found = gpu(
        work, [(100.0, 100.5, 1, 0), (100.5, 101.0, 1, 0), (101.0, 101.5, 1, 2)], [(0, "s")]
    )
    by_name = {k.name: k for k in found.kernels}
    gemm = by_name["gemm"]
    assert gemm.flops == 10_000 and gemm.executed_flops == 10_400 and gemm.bytes == 160
    assert gemm.flops_source == "user" and gemm.flops_type == "tensor-bf16"
    assert math.isnan(by_name["other"].flops)
    assert found.flops.model == 10_000 and found.flops.executed == 10_400
    assert found.flops.coverage_time == pytest.approx(2 / 3)


def test_without_any_knowledge_all_is_nan():
    found = gpu(Work(), [(100.0, 100.5, 1, 0)], [(0, "s")]).flops
    assert not found
    assert all(math.isnan(v) for v in (found.model, found.executed, found.bytes))
