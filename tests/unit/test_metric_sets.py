"""The tables of counters, and what the host half of CUPTI says of them: no GPU is needed for that.

The library is that of the wheel ``nvidia-cuda-cupti`` 13.0 (in the extra ``test``). It runs in a
child process: a libcupti once loaded stays, and would be the one that later tests find.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from picojoule import _core

CHIPS = tuple(_core.counter_chips())

#: Of each plan, what CUPTI 13.0 answers; a table of our own, so that a change of the sets shows.
PASSES = {
    "GH100": {"quick": 2, "checked": 3, "all": 8},
    "GA100": {"quick": 2, "checked": 3, "all": 9},
    "GA102": {"quick": 2, "checked": 3, "all": 9},
    "AD102": {"quick": 2, "checked": 3, "all": 10},
    "TU102": {"quick": 2, "checked": 3, "all": 3},
    "GB100": {"quick": 2, "checked": 3, "all": 8},
    "GB202": {"quick": 2, "checked": 3, "all": 11},
}

ASK = """
import json, sys
from picojoule import _core
library = _core.CounterLibrary(sys.path)
if library.refusal[0]:
    print(json.dumps({"refusal": library.refusal[0]}))
    sys.exit()
if library.version not in ("13.0", "13.1"):
    print(json.dumps({"refusal": f"the tables are of CUPTI 13.0, this is {library.version}"}))
    sys.exit()
answer = {"version": library.version, "known": library.chips(), "pm": {}, "range": {}, "names": {}}
for chip in answer["known"]:
    if not _core.known_counter_chip(chip):
        continue
    answer["pm"][chip] = {
        s["name"]: library.schedule(chip, True, [m["name"] for m in s["metrics"]])
        for s in _core.pm_sets(chip)
    }
    plans = {kind: _core.range_plan(chip, kind) for kind in ("quick", "checked", "all")}
    answer["range"][chip] = {
        kind: library.schedule(chip, False, [m["name"] for m in plan["metrics"]])
        for kind, plan in plans.items()
    }
for chip in _core.counter_chips():
    answer["names"][chip] = {
        "pm": library.base_metrics(chip, True),
        "range": [n for n in library.base_metrics(chip, False) if "ops_path_tensor_src" in n],
    }
print(json.dumps(answer))
"""


@pytest.fixture(scope="module")
def cupti():
    done = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    if "refusal" in answer:
        pytest.skip(f"{answer['refusal']} (pip install 'nvidia-cuda-cupti>=13.0,<13.2')")
    return answer


def test_every_set_for_pm_sampling_takes_one_pass(cupti):
    passes = {
        (chip, name): n for chip, sets in cupti["pm"].items() for name, (n, _) in sets.items()
    }
    assert {chip for chip, _ in passes} >= set(CHIPS)
    assert {key: n for key, n in passes.items() if n != 1} == {}


def test_every_plan_for_the_range_profiler_takes_the_passes_of_the_table(cupti):
    assert cupti["range"]["GH100"]["quick"][0] == 2
    for chip, plans in cupti["range"].items():
        expected = PASSES[_core.known_counter_chip(chip)]
        assert {kind: n for kind, (n, _) in plans.items()} == expected, chip


def test_pm_sampling_has_no_counter_of_flops_anywhere(cupti):
    for chip in CHIPS:
        names = cupti["names"][chip]["pm"]
        assert len(names) > 300
        assert [n for n in names if "sass" in n or "ops_path_tensor" in n] == []


def test_the_plan_of_all_types_leaves_out_no_type_that_the_chip_counts(cupti):
    for chip in CHIPS:
        there = {n for n in cupti["names"][chip]["range"] if n.startswith("sm__")}
        there = {n for n in there if "sparsity" not in n and "realtime" not in n}
        ours = {m["name"].removesuffix(".sum") for m in _core.range_plan(chip, "all")["metrics"]}
        assert there <= ours, chip


# -- The tables by themselves ----------------------------------------------------------------------


@pytest.mark.parametrize("chip", CHIPS)
def test_a_quantity_is_in_a_set_once_and_every_name_has_a_roll_up(chip):
    for pm in _core.pm_sets(chip):
        quantities = [m["quantity"] for m in pm["metrics"]]
        assert len(quantities) == len(set(quantities))
        assert {"sm_cycles", "dram_read_bytes", "gpc_hz"} <= set(quantities)
        for metric in pm["metrics"]:
            rest = metric["name"].rsplit("__", 1)[1]
            assert rest.endswith((".sum", ".max", ".avg", ".per_second", "_elapsed"))
            additive = rest.endswith((".sum", ".max", ".avg"))
            assert metric["additive"] == additive


def test_chips_that_cannot_sample_by_time_or_keep_the_latest_are_marked():
    marks = {
        chip: (_core.pm_sets(chip)[0]["by_sysclk"], _core.pm_sets(chip)[0]["may_be_ring"])
        for chip in CHIPS
    }
    assert marks.pop("GA100") == (True, True)
    assert marks.pop("TU102") == (True, False)
    assert set(marks.values()) == {(False, True)}


def test_a_chip_without_a_checked_set_has_none():
    assert _core.known_counter_chip("AD104") == "AD102"
    for chip in ("GV100", "TU116", "GB10B", "GB20B", "GB110", "GX999", ""):
        assert _core.known_counter_chip(chip) == ""
        assert _core.pm_sets(chip) == []
        assert _core.range_plan(chip, "quick")["metrics"] == []


@pytest.mark.parametrize("chip", CHIPS)
def test_a_fused_multiply_add_is_two_operations_and_packed_halves_are_in_the_interval(chip):
    weights = {
        m["name"]: (m["type"], m["weight_low"], m["weight"], m["weight_high"])
        for m in _core.range_plan(chip, "quick")["metrics"]
        if m["role"] == "flop"
    }
    sass = "smsp__sass_thread_inst_executed_op_{}_pred_on.sum"
    assert weights[sass.format("ffma")] == ("fp32", 2, 2, 2)
    assert weights[sass.format("dadd")] == ("fp64", 1, 1, 1)
    assert weights[sass.format("hfma")] == ("fp16", 2, 4, 4)
    assert weights[sass.format("hadd")] == ("fp16", 1, 2, 2)
    packed = sass.format("ffma2") in weights
    assert packed == (chip == "GB100")
    tensor = [w for name, w in weights.items() if "tensor" in name]
    assert tensor and all(w[1:] == (1, 1, 1) for w in tensor)


def test_integer_work_of_the_tensor_cores_is_no_flop():
    for metric in _core.range_plan("GA100", "all")["metrics"]:
        assert (metric["role"] == "integer_op") == metric["type"].startswith("tensor-int")


def test_a_plan_says_which_types_it_leaves_out():
    assert set(_core.range_plan("GH100", "quick")["uncounted"]) == {
        "tensor-fp16",  # of mma; that of wgmma is counted
        "tensor-tf32",
        "tensor-fp64",
        "tensor-int8",
        "tensor-int1",
    }
    assert _core.range_plan("GH100", "all")["uncounted"] == []


def test_there_are_three_plans():
    with pytest.raises(ValueError, match="quick, checked or all"):
        _core.range_plan("GH100", "some")


# -- Permission, as the kernel tells it ------------------------------------------------------------


def procfs(folder: Path, *, admin_only: int | None, capabilities: str) -> str:
    (folder / "self").mkdir(parents=True)
    (folder / "self/status").write_text(f"Name:\tpython\nCapEff:\t{capabilities}\n")
    if admin_only is not None:
        (folder / "driver/nvidia").mkdir(parents=True)
        (folder / "driver/nvidia/params").write_text(
            f"EnableMSI: 1\nRmProfilingAdminOnly: {admin_only}\nPreserveVideoMemory: 0\n"
        )
    return str(folder)


@pytest.mark.parametrize(
    ("admin_only", "capabilities", "refused"),
    [
        (1, "0000000000000000", True),
        (0, "0000000000000000", False),
        (1, "000001ffffffffff", False),
        (1, "0000004000000000", False),  # CAP_PERFMON
        (1, "0000000000200000", False),  # CAP_SYS_ADMIN
        (1, "0000000000080000", True),  # CAP_SYS_PTRACE is not enough
    ],
)
def test_counters_need_the_setting_or_the_capability(tmp_path, admin_only, capabilities, refused):
    words, remedy = _core.counter_permission(
        procfs(tmp_path, admin_only=admin_only, capabilities=capabilities)
    )
    assert bool(words) == refused
    if refused:
        assert "administrators" in words
        assert "NVreg_RestrictProfilingToAdminUsers=0" in remedy and "CAP_PERFMON" in remedy


def test_without_a_driver_that_is_what_is_said(tmp_path):
    words, remedy = _core.counter_permission(
        procfs(tmp_path, admin_only=None, capabilities="000001ffffffffff")
    )
    assert "no NVIDIA driver" in words and "nvidia-smi" in remedy
