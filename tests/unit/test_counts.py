"""The file of counts: what goes in comes out, and what is not one is refused."""

import json
import math

import pytest

from picojoule import _counts
from picojoule.counters import KernelCount, load_counts
from picojoule.errors import ForeignTraceError, NewerTraceError


def kernel(name="k", shared=0, **changes):
    known = {
        "name": name,
        "grid": [8, 1, 1],
        "block": [256, 1, 1],
        "dynamic_shared": shared,
        "launches": 5,
        "measured": 1,
        "flops": {"fp32": (2010.0, 2010.0, 2010.0), "fp16": (402.0, 201.0, 402.0)},
        "integer_ops": {"tensor-int8": (7.0, 7.0, 7.0)},
        "flops_total": 2412.0,
        "uncounted": [],
        "read_bytes": 16384.0,
        "write_bytes": 8192.0,
        "cycles": 5000.0,
        "time_ns": 3000.0,
        "varies": False,
        "why_not": "",
    }
    return known | changes


def report(*kernels):
    return {
        "chip": "GH100",
        "device": "Scripted GPU",
        "cuda_version": 12080,
        "cupti": "12.8",
        "passes": 3,
        "kernels": list(kernels),
        "captured": 1,
        "graphs": 2,
        "lost": 0,
        "refusal": ("", ""),
    }


@pytest.fixture
def table(tmp_path):
    def make(*kernels):
        path = tmp_path / "counts.json"
        _counts.write(path, _counts.to_document(report(*kernels), "checked", "580.65.06"))
        return load_counts(path)

    return make


def test_what_goes_in_comes_out(table):
    found = table(kernel("a"), kernel("b"))
    assert [key.name for key in found] == ["a", "b"]
    count = found[KernelCount("a", (8, 1, 1), (256, 1, 1), 0)]
    assert dict(count.flops) == {"fp32": 2010, "fp16": 402}
    assert dict(count.flops_interval) == {"fp16": (201, 402)}
    assert (count.flops_total, count.bytes, count.cycles, count.time_ns) == (
        2412,
        24576,
        5000,
        3000,
    )
    assert dict(count.integer_ops) == {"tensor-int8": 7}
    assert count.known and count.provenance == "counted"
    assert (found.device, found.chip, found.driver) == ("Scripted GPU", "GH100", "580.65.06")
    assert (found.cupti, found.plan, found.passes) == ("12.8", "checked", 3)
    assert (found.graphs, found.captured) == (2, 1)


def test_unknown_is_null_in_the_file_and_nan_in_memory(table, tmp_path):
    unknown = dict.fromkeys(
        ["flops_total", "read_bytes", "write_bytes", "cycles", "time_ns"], math.nan
    )
    found = table(kernel(flops={}, integer_ops={}, measured=0, why_not="it failed", **unknown))
    (entry,) = json.loads((tmp_path / "counts.json").read_text())["signatures"]
    assert entry["flops_total"] is None and entry["bytes"] is None and entry["passes"] == 0
    (count,) = found.values()
    assert not count.known and count.why_not == "it failed"
    assert math.isnan(count.flops_total) and math.isnan(count.bytes) and math.isnan(count.time_ns)


def test_a_kernel_is_found_by_its_shape_where_that_is_enough(table):
    more = {"flops": {"fp32": (1.0, 1.0, 1.0)}}
    found = table(
        kernel("same", 0), kernel("same", 64), kernel("other", 0), kernel("other", 64, **more)
    )
    shape = ((8, 1, 1), (256, 1, 1))
    assert found.find("same", *shape).flops_total == 2412
    assert found.find("other", *shape) is None  # which of the two is not known
    assert found.find("other", *shape, 64).flops["fp32"] == 1
    assert found.find("other", *shape, 128) is None
    assert found.find("same", (9, 1, 1), (256, 1, 1)) is None
    assert found.find("none", *shape) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"format": "something else"}',
        '{"format": "picojoule-counts", "version": 1}',
        '{"format": "picojoule-counts", "version": 1, "signatures": [{"name": "k"}]}',
        '{"format": "picojoule-counts", "version": 1, "signatures": 3}',
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ForeignTraceError):
        load_counts(tmp_path / "x.json")


def test_a_file_of_a_newer_picojoule_is_refused_as_such(tmp_path):
    document = _counts.to_document(report(kernel()), "checked", "")
    (tmp_path / "x.json").write_text(json.dumps({**document, "version": 2}))
    with pytest.raises(NewerTraceError, match="newer picojoule"):
        load_counts(tmp_path / "x.json")
    with pytest.raises(FileNotFoundError):
        load_counts(tmp_path / "none.json")


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "counts.json"
    _counts.write(path, {"good": 1})
    with pytest.raises(ValueError, match="JSON"):
        _counts.write(path, {"bad": math.nan})
    assert json.loads(path.read_text()) == {"good": 1}
    assert [f.name for f in tmp_path.iterdir()] == ["counts.json"]


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul 27\n", "580.65.06"),
        (
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  610.12  Release\nGCC 13.2.0",
            "610.12",
        ),
        ("something\nGCC 580.1.2", ""),
    ],
)
def test_the_drivers_version(tmp_path, monkeypatch, text, version):
    monkeypatch.setenv("PICOJOULE_PROCFS", str(tmp_path))
    assert _counts.driver_version() == ""
    (tmp_path / "driver/nvidia").mkdir(parents=True)
    (tmp_path / "driver/nvidia/version").write_text(text)
    assert _counts.driver_version() == version
