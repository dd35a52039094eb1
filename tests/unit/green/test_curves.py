"""The law of a study, made of its configurations."""

import numpy as np
import pytest
from cost_studies import run, study

from picojoule.green import curves
from picojoule.green.refusal import Refusal


def ladder(noise=0.0, **settings):
    """Widths 1 to 32: each doubling costs twice and adds five points; two folds."""
    rng = np.random.default_rng(4)
    runs = [
        run({"width": w, "lr": 0.1}, fold=f, joules=3.6e6 * w, duration_s=3600.0 * w,
            device_count=1.0, accuracy=0.5 + 0.05 * np.log2(w) + d + noise * rng.normal())
        for w in (1, 2, 4, 8, 16, 32) for f, d in (("a", 0.02), ("b", -0.02))
    ]  # fmt: skip
    return study(*runs, **settings)


def test_folds_are_averaged_and_one_varied_key_is_a_family():
    cost, score, _ = curves.points(ladder())
    assert cost / 3.6e6 == pytest.approx([1, 2, 4, 8, 16, 32])
    assert score == pytest.approx(0.5 + 0.05 * np.log2([1, 2, 4, 8, 16, 32]))
    law = curves.law(ladder())
    assert law.on == "family" and "'width' alone" in law.basis
    assert law.parameters["b"] == pytest.approx(0.05 / np.log10(2))


def test_next_point_in_every_kind_of_cost():
    told = ladder(carbon_factor="200 g/kWh", pue=1.0, price_per_device_hour="2 USD/h")
    step = curves.next_point(told, delta=0.05)
    assert step.factor == pytest.approx(2.0)
    assert step.prices["energy"].to("kWh") == pytest.approx(32.0)
    assert step.prices["co2e"].to("kg") == pytest.approx(6.4)
    assert step.prices["hours"].to("h") == pytest.approx(32.0)
    assert step.prices["money"].to("USD") == pytest.approx(64.0)
    assert not step.prices["flops"].known
    assert not curves.next_point(ladder(), delta=0.05).prices["co2e"].known


def test_noise_gives_a_range():
    step = curves.next_point(ladder(noise=0.003), delta=0.05)
    low, high = step.prices["energy"].range_in("kWh")
    assert low < 32.0 < high
    assert low < step.prices["energy"].to("kWh") < high


def test_two_varied_keys_are_a_cloud_with_a_front():
    runs = [
        run({"width": w, "lr": lr}, joules=10.0 * w, accuracy=0.5 + 0.05 * np.log2(w) - 0.3 * bad)
        for w in (1, 2, 4, 8, 16, 32)
        for lr, bad in ((0.1, 0), (1.0, 1))
    ]
    law = curves.law(study(*runs))
    assert law.on == "front" and len(law.cost) == 6
    assert law.parameters["b"] == pytest.approx(0.05 / np.log10(2))


def test_refusals_name_what_is_missing():
    with pytest.raises(Refusal, match="no scores"):
        curves.law(study(run({"a": 1}, joules=1.0)))
    unknown = [run({"a": i}, accuracy=0.1 * i, energy_basis="no meter") for i in range(6)]
    with pytest.raises(Refusal, match="energy of no run is known: no meter"):
        curves.law(study(*unknown))
    with pytest.raises(Refusal, match="one run"):
        curves.law(study(run({"a": 1}, joules=1.0, accuracy=0.5)))


def test_failed_and_debug_runs_are_no_points():
    extra = [run({"width": 64, "lr": 0.1}, status="failed", joules=1.0, accuracy=0.1),
             run({"width": 128, "lr": 0.1}, role="debug", joules=1.0, accuracy=0.1)]  # fmt: skip
    assert len(curves.points(study(*ladder(), *extra))[0]) == 6


def test_which_way_a_score_is_good_by_the_studys_setting():
    runs = [run({"a": i}, joules=1.0 + i, scores={"loss": 1.0 / (1 + i)}) for i in range(5)]
    assert not curves.law(study(*runs, larger_is_better=False)).larger_is_better
    other = study(*runs, larger_is_better=False, score="accuracy")
    assert curves.law(other).larger_is_better
