"""The WorkingAge case: a CNN-LSTM left one site out, as a study; and the published hours."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed: pip install '.[torch]'")

from picojoule.green import ledger, modelled, report, report_text

EXAMPLE = Path(__file__).parents[2] / "examples" / "loso_cnn_lstm.py"


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("loso_cnn_lstm", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["loso_cnn_lstm"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("loso")
    done = subprocess.run(
        [sys.executable, EXAMPLE, "--quick", "--region", "ESP", "--html", "loso.html"],
        capture_output=True,
        text=True,
        timeout=600,
        cwd=folder,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_45_subjects_of_four_sites_that_differ(example):
    clips = example.faces(2, np.random.default_rng(0))
    assert sum(example.SITES.values()) == 45
    assert clips.images.shape == (90, example.FRAMES, example.SIDE, example.SIDE)
    light = {s: clips.images[clips.sites == s].mean() for s in example.SITES}
    assert len(set(np.round(list(light.values()), 2))) > 2
    assert np.abs(clips.feelings).max() <= 1


def test_ccc(example):
    torch = example.torch
    a = torch.randn(200, 2, dtype=torch.float64)
    assert example.ccc(a, a).tolist() == pytest.approx([1, 1])
    assert (example.ccc(a + 1, a) < 1).all() and (example.ccc(-a, a) < 0).all()


def test_four_runs_in_the_ledger(ran):
    folder, out = ran
    study = ledger.open(folder / "loso.db").study("loso-cnn-lstm")
    assert [r.fold for r in study] == ["ITCL", "BrainSigns", "Audeering", "Cambridge"]
    assert len({r.config_hash for r in study}) == 1 and {r.seed for r in study} == {"0"}
    assert {r.status for r in study} == {"ok"} and {r.role for r in study} == {"final"}
    assert all(set(r.scores) == {"ccc_valence", "ccc_arousal"} for r in study)
    r = report.of(study)
    assert r.counts.runs == 4 and (r.edh.configs, r.edh.folds, r.edh.seeds) == (1, 4, 1)
    serial, parallel = r.figure("wall_s").quantity, r.figure("wall_parallel_s").quantity
    assert serial.to("s") == pytest.approx(sum(run.duration_s for run in study))
    assert parallel.to("s") == pytest.approx(max(run.duration_s for run in study))
    assert r.figure("device_hours").quantity.to("s") == pytest.approx(serial.to("s"))
    energy, co2e = r.figure("it_energy").quantity, r.figure("co2e").quantity
    if energy.known:
        assert co2e.value > 0 and "Ember" in co2e.basis
    assert {s.over for s in r.scores} == {"4 folds"} and all(s.std > 0 for s in r.scores)
    assert "mean ± sd over 4 folds" in out
    assert "loso-cnn-lstm" in (folder / "loso.html").read_text(encoding="utf-8")


def test_published_hours_are_unknown_joules_until_a_device_is_named(example, tmp_path):
    study = example.published(tmp_path / "a.db")
    unknown = report.of(study)
    assert unknown.counts.runs == 4 and unknown.edh.folds == 4
    assert unknown.figure("device_hours").text == "46.0 h"
    assert unknown.figure("wall_s").text == "46.0 h"
    assert unknown.figure("wall_parallel_s").text == "11.5 h"
    assert not unknown.figure("it_energy").quantity.known
    assert "device not named" in report_text.render(unknown, width=80, color=False)

    named = report.of(modelled.on_device(study, "NVIDIA Tesla V100 SXM2 16GB"))
    energy = named.figure("it_energy").quantity
    assert energy.provenance == "modelled"
    assert energy.to("kWh") == pytest.approx(46 * 0.3 * 0.70)
    assert energy.range_in("kWh") == pytest.approx((46 * 0.3 * 0.43, 46 * 0.3 * 1.10))
    assert not named.figure("co2e").quantity.known  # no country was told


def test_says_what_to_install(tmp_path):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise ImportError('not here')")
    code = f"import sys, runpy; sys.path.insert(0, {str(tmp_path)!r}); sys.argv = ['x']; "
    code += f"runpy.run_path({str(EXAMPLE)!r}, run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "pip install '.[torch]'" in done.stderr and "Traceback" not in done.stderr
