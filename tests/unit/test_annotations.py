"""``record_function`` of PyTorch as regions: patched while wanted, and put back as it was."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import textwrap

import pytest

import picojoule as pj
from picojoule import _annotations

QUICK = {"sources": ["cpu_estimate"]}


def tree(prof):
    return {"/".join(r.path): r.calls for r in prof.regions}


@pytest.fixture
def record_function():
    """The class, and the check that each test leaves it as it was."""
    pytest.importorskip("torch")
    from torch.autograd.profiler import record_function as found

    before = found.__dict__["__enter__"], found.__dict__["__exit__"]
    yield found
    after = found.__dict__["__enter__"], found.__dict__["__exit__"]
    assert after[0] is before[0] and after[1] is before[1]


def test_they_nest_with_regions(record_function):
    with pj.profile(**QUICK) as prof, record_function("outer"), pj.region("mine"):
        for _ in range(3):
            with record_function("inner"):
                pass
    assert tree(prof) == {"outer": 1, "outer/mine": 1, "outer/mine/inner": 3}


def test_as_a_decorator_and_one_instance_again(record_function):
    @record_function("decorated")
    def f(n):
        return n and f(n - 1)

    again = record_function("again")
    with pj.profile(**QUICK) as prof:
        f(3)
        for _ in range(2):
            with again:
                pass
    assert tree(prof) == {"decorated": 4, "again": 2}


def test_profiles_that_overlap_share_the_patch(record_function):
    plain = record_function.__dict__["__enter__"]
    one, two = pj.profile(**QUICK), pj.profile(**QUICK)
    one.__enter__()
    two.__enter__()
    with record_function("a"):
        pass
    one.__exit__(None, None, None)
    assert record_function.__dict__["__enter__"] is not plain
    with record_function("b"):
        pass
    two.__exit__(None, None, None)
    assert record_function.__dict__["__enter__"] is plain
    assert tree(one) == {"a": 1}
    assert tree(two) == {"a": 1, "b": 1}


def test_ranges_across_the_edges_of_a_profile(record_function):
    early, late = record_function("early"), record_function("late")
    early.__enter__()
    with pj.profile(**QUICK) as prof:
        early.__exit__(None, None, None)
        late.__enter__()
    assert tree(prof) == {"late": 1}
    assert prof.regions["late"].open_at_end == 1
    with record_function("outside"):
        assert pj._core.current_path() == ("late",)
    late.__exit__(None, None, None)
    assert pj._core.current_path() == ()


def test_an_exception_closes_the_range(record_function):
    with pj.profile(**QUICK) as prof:
        with pytest.raises(ZeroDivisionError), record_function("fails"):
            _ = 1 / 0
        assert pj._core.current_path() == ()
    assert tree(prof) == {"fails": 1}


def test_somebody_else_patches_after_us(record_function):
    prof = pj.profile(**QUICK)
    prof.__enter__()
    ours = record_function.__enter__
    calls = []

    def theirs(self):
        calls.append(self.name)
        return ours(self)

    plain = ours.__wrapped__
    record_function.__enter__ = theirs
    try:
        prof.__exit__(None, None, None)
        assert record_function.__enter__ is theirs  # not ours to take away
        with record_function("later"):
            assert pj._core.current_path() == ()
        with pj.profile(**QUICK) as second, record_function("once"):
            pass
        assert tree(second) == {"once": 1}
        assert calls == ["later", "once"]
    finally:
        record_function.__enter__ = ours
        _annotations.begin()
        _annotations.end()
        assert record_function.__enter__ is plain


def test_opting_out(record_function):
    plain = record_function.__dict__["__enter__"]
    with pj.profile(**QUICK, annotations=False) as prof, record_function("no"):
        assert record_function.__dict__["__enter__"] is plain
    assert tree(prof) == {}


def test_torchs_own_profiler_works_meanwhile(record_function):
    torch = pytest.importorskip("torch")
    recorder = torch.profiler.profile()
    with pj.profile(**QUICK) as prof, recorder as other, record_function("both"):
        torch.ones(3).sum()
    assert tree(prof)["both"] == 1
    assert any(e.key == "both" for e in other.key_averages())


def run_python(code):
    path = {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], env=path, check=True)


def test_torch_is_never_imported_for_it():
    run_python("""
        import sys, picojoule as pj
        finders = list(sys.meta_path)
        with pj.profile(sources=["cpu_estimate"]):
            import json, email
        assert "torch" not in sys.modules
        assert sys.meta_path == finders
    """)


def test_torch_imported_inside_the_block():
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed")
    run_python("""
        import sys, picojoule as pj
        with pj.profile(sources=["cpu_estimate"]) as prof:
            import torch
            record_function = torch.profiler.record_function
            with record_function("late"):
                pass
        assert [r.name for r in prof.regions] == ["late"]
        assert "exec_module" not in vars(sys.modules["torch.autograd.profiler"].__loader__)
        assert "picojoule" not in record_function.__enter__.__code__.co_filename
        assert not any(type(f).__module__ == "picojoule._annotations" for f in sys.meta_path)
    """)
