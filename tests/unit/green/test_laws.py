"""Laws against published fits, exact curves, scipy where it is there, and their refusals."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picojoule.errors import UsageError
from picojoule.green import fits, laws, student
from picojoule.green.quantities import quantity

#: GMAC and top-1 accuracy (%) of ResNet-18, 34, 50, 101 and 152 (ptflops, 2019).
GMAC = np.array([1.82, 3.68, 4.12, 7.85, 11.58])
TOP1 = np.array([70.142, 73.554, 76.002, 77.438, 78.428])


def test_student_against_tables():
    # Percentage points as every table of the t distribution has them.
    for freedom, t in ((1, 12.7062), (2, 4.30265), (4, 2.77645), (10, 2.22814), (30, 2.04227)):
        assert student.quantile(0.975, freedom) == pytest.approx(t, rel=1e-5)
        assert student.two_sided(0.95, freedom) == pytest.approx(t, rel=1e-5)
    assert math.isnan(student.quantile(0.975, 0))


def test_student_against_scipy():
    stats = pytest.importorskip("scipy.stats")
    for freedom in (1, 2, 3, 7, 20, 101, 1000):
        for p in (0.005, 0.3, 0.5, 0.9, 0.9999):
            expected = stats.t.ppf(p, freedom)
            assert student.quantile(p, freedom) == pytest.approx(expected, rel=1e-8, abs=1e-9)


def test_published_logarithmic_fit():
    law = laws.fit(GMAC, TOP1)
    assert law.parameters["a"] == pytest.approx(68.122, abs=5e-4)
    assert law.parameters["b"] == pytest.approx(10.282, abs=5e-4)
    assert law.r2 == pytest.approx(0.923, abs=5e-4)
    assert law.next_point(1.0).factor == pytest.approx(1.25, abs=0.005)


def test_published_tail():
    tail = fits.fit_log(GMAC[2:], TOP1[2:])
    assert (tail.a, tail.b) == pytest.approx((72.676, 5.377505), abs=5e-4)
    assert tail.factor(11.58, 1.0) == pytest.approx(1.534475, rel=1e-5)
    assert laws.log_cost_factor(1, 3.022706) == pytest.approx(2.14205, rel=1e-5)


def test_published_saturating_fit():
    law = laws.fit(GMAC, 100.0 - TOP1, "saturating", larger_is_better=False)
    found = law.parameters
    assert found["e0"] == pytest.approx(17.963, abs=0.02)
    assert found["k"] == pytest.approx(17.699, abs=0.02)
    assert found["alpha"] == pytest.approx(0.6556, abs=0.002)
    assert laws.power_law_cost_factor(21.572, 1, 17.963, 0.6556) == pytest.approx(1.64, rel=1e-3)
    mirrored = laws.fit(GMAC, TOP1, "saturating").parameters
    assert mirrored["top"] == pytest.approx(100 - found["e0"], rel=1e-6)


@settings(deadline=None)
@given(st.floats(-5, 5), st.floats(0.01, 50), st.integers(4, 12))
def test_exact_logarithms_are_found(a, b, n):
    cost = np.geomspace(3, 3000, n)
    law = laws.fit(cost, a + b * np.log10(cost))
    assert law.parameters == pytest.approx({"a": a, "b": b}, rel=1e-6, abs=1e-6)
    low, high = law.intervals()["b"]
    assert low <= b + 1e-9 and high >= b - 1e-9 and high - low < 1e-5 * max(1, abs(a), b)


@settings(deadline=None)
@given(st.floats(0.5, 1), st.floats(0.05, 0.5), st.floats(0.1, 2.0))
def test_exact_saturation_is_found(top, k, alpha):
    cost = np.geomspace(1, 100, 8)
    law = laws.fit(cost, top - k * cost**-alpha, "saturating")
    assert law.parameters == pytest.approx({"top": top, "k": k, "alpha": alpha}, rel=1e-3)
    low, high = law.curve.top_interval()
    assert low - 1e-6 <= top <= high + 1e-6


@settings(deadline=None)
@given(st.sampled_from(laws.LAWS), st.floats(1e-6, 1e6), st.integers(0, 10**6))
def test_the_unit_of_cost_changes_no_price(law, scale, seed):
    rng = np.random.default_rng(seed)
    cost = np.geomspace(1, 50, 10)
    score = 0.9 - 0.4 * cost**-0.5 + rng.normal(0, 0.002, 10)
    one, other = laws.fit(cost, score, law), laws.fit(scale * cost, score, law)
    assert one.curve.factor(50.0, 0.001) == pytest.approx(
        other.curve.factor(50.0 * scale, 0.001), rel=1e-4
    )
    assert one.predict(100.0) == pytest.approx(other.predict(100.0 * scale), rel=1e-6)


@settings(deadline=None)
@given(st.sampled_from(laws.LAWS), st.integers(0, 10**6))
def test_intervals_hold_their_value_and_widen_with_the_level(law, seed):
    rng = np.random.default_rng(seed)
    cost = np.geomspace(1, 50, 9)
    fitted = laws.fit(cost, 0.9 - 0.4 * cost**-0.5 + rng.normal(0, 0.01, 9), law)
    narrow, wide = (fitted.predict_interval(90.0, level) for level in (0.8, 0.95))
    assert wide[0] <= narrow[0] <= fitted.predict(90.0) <= narrow[1] <= wide[1]
    new = fitted.predict_interval(90.0, 0.95, new=True)
    assert new[0] < wide[0] and new[1] > wide[1]
    low, high = fitted.curve.factor_interval(50.0, 0.005)
    assert low <= fitted.curve.factor(50.0, 0.005) <= high or fitted.curve.factor(50.0, 0.005) < 1


def test_losses_mirror_scores():
    rng = np.random.default_rng(2)
    cost = np.geomspace(1, 30, 8)
    score = 0.5 + 0.1 * np.log10(cost) + rng.normal(0, 0.003, 8)
    up, down = laws.fit(cost, score), laws.fit(cost, 1 - score, larger_is_better=False)
    assert down.next_point().factor == pytest.approx(up.next_point().factor)
    assert down.intervals()["b"] == pytest.approx(tuple(-x for x in up.intervals()["b"][::-1]))
    assert down.next_point().score == pytest.approx(1 - up.next_point().score)


def test_coverage_of_six_points():
    """The bar is measured over more studies in benchmarks/bench_green_laws.py."""
    rng = np.random.default_rng(11)
    cost, hits = np.geomspace(1, 30, 6), np.zeros(2)
    truth = (0.6 + 0.08 * np.log10(cost), 0.95 - 0.35 * cost**-0.5)
    expected = (0.6 + 0.08 * np.log10(90), 0.95 - 0.35 * 90**-0.5)
    for _ in range(400):
        for i, kind in enumerate(laws.LAWS):
            law = laws.fit(cost, truth[i] + rng.normal(0, 0.004, 6), kind)
            low, high = law.predict_interval(90.0)
            hits[i] += low <= expected[i] <= high
    # Four standard errors of 400 draws around 95 %.
    assert (np.abs(hits / 400 - 0.95) < 4 * 0.0109).all(), hits / 400


def test_price_of_the_next_point_in_its_unit_and_others():
    cost = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    law = laws.fit(cost, 60 + 10 * np.log2(cost), unit="kWh", basis="a doubling ladder")
    step = law.next_point(10.0)
    assert step.factor == pytest.approx(2.0)
    assert step.prices["energy"].to("kWh") == pytest.approx(16.0)
    assert step.prices["energy"].provenance == "modelled"
    assert "a doubling ladder" in step.prices["energy"].basis
    more = step.priced({"co2e": quantity(3.2, "kg", low=3.0, high=3.6)})
    assert more.prices["co2e"].to("kg") == pytest.approx(3.2)
    assert more.prices["co2e"].range_in("kg") == pytest.approx((3.0, 3.6))


def test_a_point_is_a_hundredth_of_shares_and_one_of_percents():
    cost = np.geomspace(1, 100, 6)
    share = 0.5 + 0.1 * np.log10(cost)
    assert laws.fit(cost, share).next_point().delta == 0.01
    assert laws.fit(cost, 100 * share).next_point().delta == 1.0


@pytest.mark.parametrize(
    ("cost", "score", "reason"),
    [
        ([], [], "no scores"),
        ([1, 2, 3, 4], [math.nan] * 4, "no scores"),
        ([math.nan] * 4, [1, 2, 3, 4], "cost of none is known"),
        ([1, math.nan], [math.nan, 2], "both a score and a cost"),
        ([1, math.nan], [1, 2], "one run"),
        ([1, 2, 3], [1, 2, 3], "3 distinct costs"),
        ([1, 1.001, 1.002, 2, 3], [1, 2, 3, 4, 5], "3 distinct costs"),
    ],
)
def test_what_carries_no_law(cost, score, reason):
    with pytest.raises(laws.Refusal, match=reason) as refused:
        laws.fit(cost, score)
    assert reason in refused.value.reason


def test_mixed_families_are_refused_but_have_a_front():
    cost = np.geomspace(1, 1000, 12)
    score = 0.5 + 0.1 * np.log10(cost)
    score[1::2] -= 0.2
    families = ["a", "b"] * 6
    with pytest.raises(laws.Refusal, match=r"2 families are mixed \(a, b\)"):
        laws.fit(cost, score, family=families)
    assert laws.fit(cost, score, family=families, on="front").on == "front"
    assert laws.fit(cost, score, family=["a"] * 12).on == "family"


def test_a_price_beyond_the_data_is_refused():
    cost = np.geomspace(1, 100, 8)
    law = laws.fit(cost, 0.5 + 0.1 * np.log10(cost))
    with pytest.raises(laws.Refusal, match=r"extrapolated by 2\.0 decades"):
        law.next_point(0.2)
    assert law.next_point(0.099).factor == pytest.approx(10**0.99)
    law.predict_interval(1000.0)
    with pytest.raises(laws.Refusal, match="decades beyond the costs"):
        law.predict_interval(1001.0)
    with pytest.raises(laws.Refusal, match="decades beyond the costs"):
        law.next_point(0.01, at=0.01)


def test_a_price_beyond_the_asymptote_is_refused():
    cost = np.geomspace(1, 100, 8)
    law = laws.fit(cost, 0.95 - 0.35 * cost**-0.5, "saturating")
    with pytest.raises(laws.Refusal, match=r"beyond the 0\.95 that no cost passes"):
        law.next_point(0.036)
    noise = np.array([1, -1, -1, 1, 1, -1]) * 0.01
    noisy = laws.fit(cost[2:], 0.95 - 0.35 * cost[2:] ** -0.5 + noise, "saturating")
    with pytest.raises(laws.Refusal, match="no upper end"):
        noisy.next_point(0.01)


def test_a_slope_that_may_be_0_has_no_price():
    cost = np.geomspace(1, 100, 6)
    noise = np.array([0.02, -0.03, 0.03, -0.01, 0.02, -0.02])
    for kind in laws.LAWS:
        with pytest.raises(laws.Refusal, match=r"not distinguishable from 0|does not improve"):
            laws.fit(cost, 0.8 + noise, kind).next_point()


def test_calls_that_mean_nothing():
    good = ([1, 2, 3, 4], [1, 2, 3, 4])
    for bad, words in (
        (lambda: laws.fit(*good, "cubic"), "law must be"),
        (lambda: laws.fit(*good, on="all"), "on must be"),
        (lambda: laws.fit([1, 2], [1]), "two equal rows"),
        (lambda: laws.fit([0, 1, 2, 3], [1] * 4), "above 0"),
        (lambda: laws.fit([1, 2, 3, math.inf], [1] * 4), "finite"),
        (lambda: laws.fit(*good).next_point(0.0), "delta must be"),
        (lambda: laws.fit(*good).predict(-1), "above 0"),
        (lambda: laws.fit(*good, family=["a"]), "1 families for 4"),
    ):
        with pytest.raises(UsageError, match=words):
            bad()
