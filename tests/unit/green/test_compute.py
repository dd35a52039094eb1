"""FLOPs of training, utilisation, pJ/FLOP, growth, and what is known of others."""

import math
from types import SimpleNamespace

import pytest

from picojoule.errors import UsageError
from picojoule.flops.summary import Flops
from picojoule.green import compute, known, scaling
from picojoule.green.quantities import Quantity, UnitError, quantity

#: What the factors of "AI and Compute" give, in pf-days, to three digits.
EXACT = {
    ("AlexNet", "gpu-time"): 0.00574, ("AlexNet", "counting"): 0.00563,
    ("Dropout", "gpu-time"): 0.00203, ("Zeiler and Fergus", "gpu-time"): 0.00610,
    ("DQN", "counting"): 2.78e-5, ("Seq2Seq", "counting"): 0.129, ("Seq2Seq", "gpu-time"): 0.0924,
    ("VGG", "counting"): 0.0987, ("VGG", "gpu-time"): 0.101, ("DeepSpeech2", "gpu-time"): 0.240,
    ("ResNets", "counting"): 0.1216, ("Xception", "gpu-time"): 5.05,
    ("Neural Architecture Search", "counting"): 22.2,
    ("Neural Architecture Search", "gpu-time"): 31.0,
    ("Neural Machine Translation", "gpu-time"): 76.6,
}  # fmt: skip
#: Where the post's printed result does not follow from its printed factors.
SLIPS = {("Seq2Seq", "counting"), ("VGG", "gpu-time")}


def test_ai_and_compute():
    rows = {(r.system, r.method): r for r in compute.ai_and_compute()}
    for key, exact in EXACT.items():
        row = rows[key]
        assert compute.pf_days(row.flops) == pytest.approx(exact, rel=4e-3), key
        off = abs(compute.pf_days(row.flops) / row.printed_pf_days - 1)
        assert off < 0.05 or (key in SLIPS and row.note), key
    computed = {k for k, r in rows.items() if r.method != "published"}
    assert computed == set(EXACT)


def test_both_methods_agree_within_their_claim():
    """The post claims a factor of two to three."""
    by_system = {}
    for r in compute.ai_and_compute():
        if r.method in ("counting", "gpu-time"):
            by_system.setdefault(r.system, []).append(r.flops.value)
    both = [v for v in by_system.values() if len(v) == 2]
    assert len(both) == 4
    assert all(max(v) / min(v) < 2 for v in both)


def test_300000_times_from_alexnet_to_alphago_zero():
    rows = {r.system: r for r in compute.ai_and_compute() if r.method != "counting"}
    g = compute.growth(
        quantity(rows["AlexNet"].printed_pf_days, "pf-days"),
        rows["AlphaGo Zero"].flops, "2012-09-30", "2017-10-18",
    )  # fmt: skip
    assert g.factor == pytest.approx(327_586, rel=1e-4)
    assert g.factor > 300_000
    assert g.doublings == pytest.approx(18.3, abs=0.05)
    assert 3.2 < g.doubling_months < 3.5  # they fitted 3.4 to all systems


def test_growth_of_newer_estimates():
    g = known.growth_between("AlexNet", "Grok-3")
    assert g.factor == pytest.approx(9.9e8, rel=0.01)
    assert g.doublings == pytest.approx(29.9, abs=0.05)
    assert g.doubling_months == pytest.approx(5.0, abs=0.05)
    assert known.growth_between("AlexNet", "AlphaGo Zero").factor == pytest.approx(
        726_000, rel=1e-3
    )
    assert "doublings" in str(g)


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        ((quantity("1 FLOP"), quantity("1 kWh"), "2012", "2013"), UnitError),
        ((0, 1, "2012-01", "2013-01"), UsageError),
        ((math.nan, 1, "2012-01", "2013-01"), UsageError),
        ((1, 2, "2013-01", "2012-01"), UsageError),
        ((1, 2, "spring", "2012-01"), UsageError),
    ],
)
def test_what_is_no_growth(told, kind):
    with pytest.raises(kind):
        compute.growth(*told)


def test_shrinking_has_no_doubling_time():
    g = compute.growth(8.0, 2.0, "2012-01", "2014-01")
    assert g.doublings == -2
    assert math.isnan(g.doubling_days)


def test_utilisation_of_palm():
    attention = compute.palm_flops_per_token(540.35e9, 118, 48, 256, 2048)
    plain = compute.palm_flops_per_token(540.35e9)
    assert compute.mfu(238.3e3, attention, 6144, "275 TFLOP/s") == pytest.approx(0.462, abs=5e-4)
    assert compute.mfu(238.3e3, plain, 6144, "275 TFLOP/s") == pytest.approx(0.457, abs=5e-4)
    assert compute.hfu(0.462, 4.10 / 3.28) == pytest.approx(0.578, abs=1e-3)
    with pytest.raises(UsageError):
        compute.hfu(0.462, 0.9)
    with pytest.raises(UnitError):
        compute.mfu(1, 1, 1, "275 kWh")
    with pytest.raises(UsageError):
        compute.mfu(1, 1, 0, "275 TFLOP/s")


@pytest.mark.parametrize(
    ("device", "arithmetic", "pj"),
    [
        ("GTX 580", "fp32", 154), ("Tesla V100-SXM2-16GB", "tensor-fp16", 2.40),
        ("NVIDIA A100-SXM4-80GB", "tensor-bf16", 1.28),
        ("NVIDIA H100 80GB HBM3", "tensor-bf16", 0.707),
        ("NVIDIA H100 80GB HBM3", "tensor-fp8", 0.354),
    ],
)  # fmt: skip
def test_nameplate_floor(device, arithmetic, pj):
    name = "NVIDIA GeForce GTX 580" if device == "GTX 580" else device
    floor = compute.nameplate_floor(name, arithmetic)
    assert floor.to("pJ/FLOP") == pytest.approx(pj, rel=5e-3)
    assert floor.provenance == "published"


def test_floor_of_what_is_not_known():
    assert not compute.nameplate_floor("Abacus").known
    assert not compute.nameplate_floor("NVIDIA GeForce GTX 580", "tensor-fp8").known
    assert not compute.nameplate_floor("").known


def test_energy_of_a_flop_fell_while_compute_grew():
    alexnet = compute.pj_per_flop(quantity(2 * 244 * 132 / 1000, "kWh"), "4.7e17 FLOP")
    llama = compute.pj_per_flop(quantity(30.84e6 * 0.7, "kWh"), "3.8e25 FLOP")
    assert alexnet.to("pJ/FLOP") == pytest.approx(493, rel=2e-3)
    assert llama.to("pJ/FLOP") == pytest.approx(2.045, rel=2e-3)
    assert (alexnet / llama).value == pytest.approx(241, rel=5e-3)
    assert not compute.pj_per_flop("1 kWh", "0 FLOP").known
    with pytest.raises(UnitError):
        compute.pj_per_flop("1 kWh", "1 kg")


def test_assumed_utilisation_is_worth_a_factor_of_three():
    q = compute.from_device_time(2, "1.58 TFLOP/s", "5.5 d")
    assert q.provenance == "estimated" and "assumed" in q.basis
    assert (q.low / q.value, q.high / q.value) == pytest.approx((1 / 3, 3))
    told = compute.from_device_time(2, "1.58 TFLOP/s", "5.5 d", 0.33)
    assert told.value == q.value and told.low == told.high == told.value
    with pytest.raises(UsageError):
        compute.from_device_time(2, "1.58 TFLOP/s", "5.5 d", 1.5)
    with pytest.raises(UsageError, match="no unit"):
        compute.from_device_time(2, 1.58, "5.5 d", 0.3)


def test_compare_places_flops_among_known_systems():
    c = known.compare("3.1e17 FLOP")
    times = {p.system.name: p.times for p in c.milestones}
    assert times["AlexNet"] == pytest.approx(0.66, abs=0.005)
    assert 1 / times["BERT-Large"] == pytest.approx(919, rel=2e-3)
    assert c.below.times >= 1 > c.above.times
    assert c.among == 413
    assert 0 < c.smaller < c.among
    assert "0.66 x AlexNet [Confident]" in str(c) and "1/919 of BERT-Large [Confident]" in str(c)


def test_compare_at_the_ends():
    assert known.compare(1.0).below is None
    assert known.compare(1e40).above is None
    for bad in ("5 kWh", quantity("5 kg")):
        with pytest.raises(UnitError):
            known.compare(bad)
    for bad in (0.0, -1.0, "x FLOP", object()):
        with pytest.raises(UsageError):
            known.compare(bad)


def test_compare_takes_a_profile():
    counted = SimpleNamespace(flops=Flops(model=4.7e17, coverage_time=0.9, sources=("counter",)))
    c = known.compare(counted)
    assert c.flops.provenance == "counted" and "90 %" in c.flops.basis
    assert c.below.system.name == "AlexNet"
    none = known.compare(SimpleNamespace(flops=Flops()))
    assert not none.flops.known
    assert "unknown FLOPs" in str(none) and "count_flops" in str(none)


def test_known_systems_say_how_sure_they_are():
    tags = {s.confidence for s in known.systems()}
    assert tags <= {"Confident", "Likely", "Speculative", "Unknown", ""}
    assert all(
        s.flops.provenance == "published" and "Epoch" in s.flops.basis for s in known.systems()
    )
    bert = known.system("bert-large")
    assert bert.chip_hours == 6144
    assert compute.pf_days(bert.flops) == pytest.approx(3.30, rel=2e-3)
    with pytest.raises(UsageError, match="AlphaGo Zero"):
        known.system("AlphaGoZero")


def test_chinchilla_and_kaplan():
    assert scaling.chinchilla_loss(70e9, 1.4e12) == pytest.approx(1.936645, rel=1e-6)
    assert scaling.chinchilla_loss(70e9, 1.4e12, "refit") == pytest.approx(1.973882, rel=1e-6)
    ten = scaling.kaplan_loss(pf_days=10) / scaling.kaplan_loss(pf_days=1)
    assert ten == pytest.approx(0.891, abs=5e-4)
    for bad in ({}, {"parameters": 1, "tokens": 1}, {"tokens": 0}):
        with pytest.raises(UsageError):
            scaling.kaplan_loss(**bad)
    with pytest.raises(UsageError):
        scaling.chinchilla_loss(70e9, 1.4e12, "guess")
    with pytest.raises(UsageError):
        scaling.chinchilla_loss(-1, 1.4e12)


def test_units_of_flops_are_one_kind():
    assert isinstance(compute.training(1e9, 1e9), Quantity)
    assert compute.training(175e9, 300e9).to("pf-days") == pytest.approx(3645.8, rel=1e-4)
    assert str(compute.training(175e9, 300e9)) == "3646 pf-days"
