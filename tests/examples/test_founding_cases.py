"""The questions picojoule was made for come out as the papers have them."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "founding_cases.py"


@pytest.fixture(scope="module")
def cases():
    spec = importlib.util.spec_from_file_location("founding_cases", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_bert_large_cost_about_7000_dollars(cases):
    assert cases.bert_large().to("USD") == pytest.approx(6912)


def test_compute_grew_300000_fold(cases):
    grown, placed = cases.ai_and_compute()
    assert 300_000 < grown.factor < 340_000
    assert 3.0 < grown.doubling_months < 3.6  # 3.4 printed, for the chart's whole line
    assert "AlexNet" in placed and "1/919 of BERT-Large" in placed


def test_score_and_cost_stand_side_by_side(cases):
    first = cases.score_and_cost().split("\n\n")[1]
    assert "top1 78.44 ± 0.13" in first
    assert "kWh" in first and "CO2e" in first and "h \\[measured\\] of device time" in first
    whole = cases.score_and_cost()
    assert "Ember 2024, United States" in whole
    assert "1 of 8 runs ended without a result" in whole


def test_h_by_count_and_by_cost_differ(cases):
    h = cases.lisa()
    assert h.configs == 4789
    assert h.h_cost == pytest.approx(239_942 / 120)
    assert h.known.to("h") == pytest.approx(239_942)


def test_a_linear_gain_has_an_exponential_cost(cases, capsys):
    prices = cases.next_point()
    assert prices["log"].factor == pytest.approx(1.25, abs=0.005)
    assert prices["log"].factor_low < prices["log"].factor < prices["log"].factor_high
    assert "saturating" not in prices
    assert "no price: the price has no upper end" in capsys.readouterr().out


def test_the_example_runs():
    done = subprocess.run(
        [sys.executable, EXAMPLE], capture_output=True, text=True, timeout=300, check=True
    )
    assert "6912 USD" in done.stdout and "doublings" in done.stdout
