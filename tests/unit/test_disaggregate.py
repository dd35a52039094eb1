"""Counters of a whole device, split among the kernels that ran: against rates that are known."""

import itertools
import math

import numpy as np
import pytest

from picojoule._disaggregate import _nnls
from picojoule.counters import disaggregate, tensor_flops
from picojoule.errors import UsageError

MS = 1_000_000


def grid(n, step_ns=200_000):
    begins = np.arange(n, dtype=np.int64) * step_ns
    return begins, begins + step_ns


def truth(begins, ends, kernels, rates):
    """What each sample counts, of rates that are known."""
    values = np.zeros(len(begins))
    for begin, end, name in kernels:
        shared = np.minimum(ends, end) - np.maximum(begins, begin)
        values += rates[name] * np.maximum(shared, 0) * 1e-9
    return values


def random_kernels(rng, n, names, span_ns):
    kernels = []
    for _ in range(n):
        begin = int(rng.integers(0, span_ns))
        length = int(rng.integers(20_000, 900_000))
        kernels.append((begin, begin + length, names[int(rng.integers(len(names)))]))
    return kernels


def test_rates_of_kernels_that_take_turns_come_back_exactly():
    begins, ends = grid(100)
    kernels = [(i * 330_000, i * 330_000 + 300_000, "ab"[i % 2]) for i in range(60)]
    rates = {"a": 3e12, "b": 5e11}
    shares = {
        s.kernel: s
        for s in disaggregate(begins, ends, truth(begins, ends, kernels, rates), kernels)
    }
    for name, rate in rates.items():
        share = shares[name]
        assert share.resolved and share.provenance == "modelled"
        assert share.rate == pytest.approx(rate, rel=1e-9)
        time = sum(e - b for b, e, k in kernels if k == name) * 1e-9
        assert share.time_s == pytest.approx(time)
        assert share.total == pytest.approx(rate * time)


def test_kernels_that_run_at_once_are_told_apart_by_their_edges():
    rng = np.random.default_rng(1)
    begins, ends = grid(400)
    rates = {"gemm": 4e12, "copy": 0.0, "norm": 2e10, "attention": 1e12}
    kernels = random_kernels(rng, 300, list(rates), 80 * MS)
    shares = disaggregate(begins, ends, truth(begins, ends, kernels, rates), kernels)
    assert {s.kernel: pytest.approx(s.rate, rel=1e-6, abs=1e3) for s in shares} == rates
    for share in shares:
        assert share.low <= rates[share.kernel] * (1 + 1e-6) + 1e3
        assert share.high >= rates[share.kernel] * (1 - 1e-6) - 1e3


def test_with_noise_the_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(2)
    begins, ends = grid(300)
    rates = {"a": 3e9, "b": 2e9, "c": 1e9}
    inside = cases = 0
    for _ in range(60):
        kernels = random_kernels(rng, 200, list(rates), 60 * MS)
        values = truth(begins, ends, kernels, rates) + rng.normal(0, 3e4, len(begins))
        for share in disaggregate(begins, ends, values, kernels):
            cases += 1
            inside += share.low <= rates[share.kernel] <= share.high
    assert inside / cases > 0.90  # of 95 %; 180 cases fall below by chance once in 300


def test_classes_that_always_run_together_are_unknown_and_bounded():
    begins, ends = grid(50)
    pairs = [(i * 200_000, i * 200_000 + 100_000, k) for i in range(50) for k in ("x", "y")]
    alone = [(i * 200_000 + 150_000, i * 200_000 + 150_000 + 500 * i, "z") for i in range(1, 50)]
    kernels = pairs + alone
    rates = {"x": 1e9, "y": 3e9, "z": 7e9}
    shares = {
        s.kernel: s
        for s in disaggregate(begins, ends, truth(begins, ends, kernels, rates), kernels)
    }
    for name in "xy":
        assert not shares[name].resolved
        assert math.isnan(shares[name].rate) and math.isnan(shares[name].total)
        assert shares[name].low == 0 and shares[name].high >= rates[name]
        assert shares[name].high < 1e10  # but not anything
    assert shares["z"].resolved and shares["z"].rate == pytest.approx(7e9, rel=1e-6)


def test_a_rate_is_never_negative():
    begins, ends = grid(40)
    kernels = [(i * 200_000, i * 200_000 + 100_000 + 1000 * i, "ab"[i % 2]) for i in range(40)]
    values = truth(begins, ends, kernels, {"a": 1e9, "b": 0.0})
    values[1::2] -= 1e3  # where b runs, less than nothing was counted
    for share in disaggregate(begins, ends, values, kernels):
        assert share.rate >= 0 and share.low >= 0


def test_the_solution_is_the_best_of_all_that_are_not_negative():
    rng = np.random.default_rng(4)
    for _ in range(200):
        # Much alike, so that a class that looks useful at first goes when others have come.
        matrix = rng.uniform(0.5, 1, (8, 5))
        right = matrix @ rng.normal(0, 1, 5) + rng.normal(0, 0.3, 8)
        best = np.linalg.norm(right)
        for members in itertools.product([False, True], repeat=5):
            some = np.array(members)
            trial = np.zeros(5)
            if some.any():
                trial[some] = np.linalg.lstsq(matrix[:, some], right, rcond=None)[0]
            if (trial >= 0).all():
                best = min(best, np.linalg.norm(matrix @ trial - right))
        found = _nnls(matrix, right)
        assert (found >= 0).all()
        assert np.linalg.norm(matrix @ found - right) == pytest.approx(best, rel=1e-9, abs=1e-12)


def test_samples_that_are_unknown_or_out_of_order_do_no_harm():
    begins, ends = grid(60)
    kernels = [(i * 330_000, i * 330_000 + 300_000, "ab"[i % 2]) for i in range(30)]
    values = truth(begins, ends, kernels, {"a": 3e9, "b": 5e9})
    values[::7] = math.nan
    order = np.random.default_rng(3).permutation(60)
    shares = disaggregate(begins[order], ends[order], values[order], kernels)
    assert [s.rate for s in shares] == pytest.approx([3e9, 5e9], rel=1e-9)


def test_a_kernel_outside_all_samples_has_no_share():
    begins, ends = grid(10)
    kernels = [(0, 1 * MS, "in"), (90 * MS, 91 * MS, "out")]
    values = truth(begins, ends, kernels, {"in": 1e9, "out": 1e9})
    assert [s.kernel for s in disaggregate(begins, ends, values, kernels)] == ["in"]
    assert disaggregate(begins, ends, values, []) == []
    assert disaggregate([], [], [], kernels) == []


def test_one_sample_for_one_class_has_a_rate_and_no_error_bar():
    (share,) = disaggregate([0], [1 * MS], [5e6], [(0, 500_000, "k")])
    assert share.rate == pytest.approx(1e10)
    assert math.isnan(share.std)


@pytest.mark.parametrize(
    "arguments",
    [([0], [1, 2], [1.0]), ([0], [1], [1.0, 2.0]), ([0, 5], [1, 5], [1.0, 1.0])],
)
def test_samples_that_cannot_be(arguments):
    with pytest.raises(UsageError):
        disaggregate(*arguments, [(0, 1, "k")])


def test_flops_of_tensor_cycles_are_a_model_with_all_that_they_may_be():
    # One SM of an H100, busy for a second at 1.83 GHz: 7.5 TFLOP in BF16, twice that in FP8, and
    # nothing at all if it was moving constants.
    flops, low, high = tensor_flops(1.83e9, "GH100")
    assert flops == pytest.approx(989e12 / 132, rel=0.01)
    assert low == 0 and high == 2 * flops
    assert tensor_flops(1.83e9, "GH100", "fp8") == (high, 0, high)
    assert tensor_flops(1.83e9, "GH100", "tf32")[2] == flops / 2
    assert tensor_flops(1.41e9, "GA100", "bf16")[0] == pytest.approx(312e12 / 108, rel=0.01)
    assert all(math.isnan(v) for v in tensor_flops(1e9, "GX999"))
    with pytest.raises(UsageError, match="no tensor type 'fp8'"):
        tensor_flops(1e9, "GA100", "fp8")
