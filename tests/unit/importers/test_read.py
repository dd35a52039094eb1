"""Real files, what is no timeline at all, and damage of every kind."""

import gzip
import json
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from picojoule import importers
from picojoule.errors import ForeignTraceError, TraceError, TruncatedTraceError

from . import foreign_files as ff

DATA = Path(__file__).parents[2] / "data" / "imported"


# ---- files that the real tools wrote (tests/data/imported/make_*.py) ----


def test_a_real_trace_of_torch():
    got = importers.read(DATA / "kineto_cpu.json.gz")
    names = [got.path_names(p) for p in range(len(got.paths))]
    for step in range(3):
        for part in ("forward", "backward", "optimizer"):
            assert (f"step_{step}", part) in names
    assert got.clock == "realtime" and not len(got.kernels) and len(got.spans) == 18
    # The wall clock of when it was made, and each step holds its parts.
    assert 1_790_000_000 < got.spans["begin_ns"][0] / 1e9 < 1_800_000_000
    span = {got.path_names(r["path"]): r for r in got.spans}
    outer, inner = span["step_1",], span["step_1", "backward"]
    assert outer["begin_ns"] <= inner["begin_ns"] < inner["end_ns"] <= outer["end_ns"]


def test_a_real_trace_of_torch_with_its_ops():
    got = importers.read(DATA / "kineto_cpu.json.gz", ops=True)
    assert len(got.spans) == 18 + 396
    names = {got.path_names(p) for p in got.spans["path"]}
    assert ("step_0", "forward", "aten::linear", "aten::addmm") in names
    # The backward pass ran on the thread that asked for it.
    assert any(
        n[:2] == ("step_2", "backward") and n[2].startswith("autograd::engine") for n in names
    )


def test_a_real_profile_of_jax():
    got = importers.read(DATA / "jax_cpu.xplane.pb.gz")
    assert got.paths == [(0, ""), (0, "train"), (1, "forward")]
    assert got.clock == "realtime" and len(got.spans) == 6 and not len(got.kernels)
    assert 1_790_000_000 < got.spans["begin_ns"][0] / 1e9 < 1_800_000_000
    assert any("XLA ran on the CPU" in note for note in got.notes)


def test_a_folder_of_jax(tmp_path):
    inside = tmp_path / "plugins" / "profile" / "run"
    inside.mkdir(parents=True)
    (inside / "a.xplane.pb").write_bytes(ff.xplane())
    assert len(importers.read(tmp_path).kernels) == 2
    (inside / "b.xplane.pb").write_bytes(ff.xplane())
    with pytest.raises(ForeignTraceError, match=r"holds 2 profiles.*a\.xplane\.pb"):
        importers.read(tmp_path)


# ---- what it is not ----

FOREIGN = {
    "a.txt": (b"hello world", ForeignTraceError, "begins with"),
    "a.json": (b'{"a": 1, "b": 2}', ForeignTraceError, "it has: a, b"),
    "b.json": (b"[1, 2]", ForeignTraceError, "a list"),
    "c.json": (b'{"traceEvents": [{"ph": "X", "cat": "v8"}]}', ForeignTraceError, "v8"),
    "d.json": (b'{"traceEvents": [{"ph": "X", "ts": 1,', TruncatedTraceError, "ends too early"),
    "e.json": (b'{"deviceProperties": [' + b"[" * 100_000, TruncatedTraceError, "Export it again"),
    "f.json": (b'{"a": 1e99999999999999999999}', TraceError, "Export it again"),
    "a.nsys-rep": (b"\0\1QuadD", ForeignTraceError, "nsys export --type sqlite"),
    "a.ncu-rep": (b"NVR\0", ForeignTraceError, "Nsight Compute"),
    "a.pftrace": (b"\x0a\x05", ForeignTraceError, "Perfetto"),
    "empty.json": (b"", TruncatedTraceError, "empty"),
    "a.json.gz": (gzip.compress(b"{}")[:-6], TruncatedTraceError, "gzip"),
    "b.json.gz": (b"\x1f\x8bxxxxxxxxxxxx", TruncatedTraceError, "gzip"),
    "a.sqlite": (b"SQLite format 3\0" + b"x" * 200, TruncatedTraceError, "nsys export"),
    "a.xplane.pb": (b"\x0a\xff", TruncatedTraceError, "XPlane"),
    "b.pb": (ff.message((1, ff.message((2, "elsewhere")))), ForeignTraceError, "no planes"),
    "a.sqlite.gz": (
        gzip.compress(b"SQLite format 3\0"), ForeignTraceError, "gunzip",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FOREIGN)
def test_the_error_says_what_was_found_and_what_to_do(tmp_path, name):
    data, kind, says = FOREIGN[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(kind, match=says):
        importers.read(tmp_path / name)


def test_other_databases_and_folders(tmp_path):
    import sqlite3

    with sqlite3.connect(tmp_path / "a.db") as database:
        database.execute("CREATE TABLE cookies (a)")
    database.close()
    with pytest.raises(ForeignTraceError, match="cookies"):
        importers.read(tmp_path / "a.db")
    with pytest.raises(FileNotFoundError, match="nothing"):
        importers.read(tmp_path / "nothing")
    with pytest.raises(ForeignTraceError, match=r"without \*\.xplane"):
        importers.read(tmp_path)
    (tmp_path / "meta.json").write_text("{}")
    with pytest.raises(ForeignTraceError, match=r"picojoule\.load"):
        importers.read(tmp_path)


# ---- damage ----


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    files = ff.write_all(tmp_path_factory.mktemp("whole"))
    found = {f.name: f.read_bytes() for f in files}
    for real in sorted(DATA.glob("*.gz")):
        found[real.stem] = gzip.decompress(real.read_bytes())
    return found


FUZZ = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
NAMES = ["kineto.json", "profile.xplane.pb", "proton.hatchet", "report.sqlite", "jax_cpu.xplane.pb"]


def only_trace_errors(path, data):
    path.write_bytes(data)
    try:
        got = importers.read(path)
    except TraceError:
        return
    assert (got.kernels["end_ns"] >= got.kernels["begin_ns"]).all()
    assert (got.kernels["path"] < len(got.paths)).all()
    assert all(parent < max(n, 1) for n, (parent, _) in enumerate(got.paths))


@pytest.mark.parametrize("name", NAMES)
@settings(FUZZ, max_examples=60)
@given(seed=st.integers(0, 1 << 30), cut=st.booleans(), changes=st.integers(0, 12))
def test_damaged_files_give_nothing_but_trace_errors(originals, tmp_path, name, seed, cut, changes):
    chance = random.Random(seed)
    data = bytearray(originals[name])
    for _ in range(changes):
        data[chance.randrange(len(data))] = chance.randrange(256)
    if cut:
        del data[chance.randrange(len(data)) :]
    only_trace_errors(tmp_path / name, bytes(data))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@pytest.mark.parametrize("make", [ff.kineto, ff.hatchet])
@settings(FUZZ, max_examples=100)
@given(data=st.data())
def test_json_with_any_value_in_any_place(tmp_path, make, data):
    document = make()
    for _ in range(data.draw(st.integers(1, 4))):
        place = document
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = data.draw(st.sampled_from(keys))
            if isinstance(place[key], (dict, list)) and data.draw(st.integers(0, 5)):
                place = place[key]
            else:
                place[key] = data.draw(json_values)
                break
    only_trace_errors(tmp_path / "any.json", json.dumps(document).encode())
