"""Properties that hold for any figures: units, bounds, digits, order."""

import math
import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from picojoule.green import carbon, compute, embodied, footprint, money, water
from picojoule.green.model import Run
from picojoule.green.quantities import Quantity, UnitError, quantity, unit_of

UNITS = ("J", "kWh", "s", "h", "g", "kg", "FLOP", "pf-days", "L", "USD", "EUR", "W", "g/kWh",
         "L/kWh", "USD/h", "EUR/kWh", "pJ/FLOP", "FLOP/s")  # fmt: skip
AMOUNT = st.floats(1e-6, 1e12)
SHARE = st.floats(0.0, 0.9)


@st.composite
def ranged(draw, unit):
    value = draw(AMOUNT)
    return quantity(
        value, unit, low=value * (1 - draw(SHARE)), high=value * (1 + draw(SHARE))
    )  # fmt: skip


@given(st.sampled_from(UNITS), st.sampled_from(UNITS), AMOUNT, AMOUNT)
def test_units_never_mix(a, b, x, y):
    first, second = quantity(x, a), quantity(y, b)
    if unit_of(a)[0] == unit_of(b)[0]:
        assert (first + second).to(a) == pytest.approx(x + second.to(a))
        return
    for mixing in (
        lambda: first + second,
        lambda: first - second,
        lambda: first < second,
        lambda: first.to(b),
        lambda: quantity(first, b),
    ):
        with pytest.raises(UnitError):
            mixing()


WRONG = {
    "energy": lambda q: carbon.co2e(q, factor="100 g/kWh", pue=1),
    "factor": lambda q: carbon.co2e("1 kWh", factor=q, pue=1),
    "water": lambda q: water.water("1 kWh", pue=1, wue_on=q, wue_off="1 L/kWh"),
    "embodied": lambda q: embodied.share_of(q, "1 h", 4),
    "time of use": lambda q: embodied.share_of("1 kg", q, 4),
    "device-hours": lambda q: money.cost(device_hours=q, price="1 USD/h"),
    "price": lambda q: money.cost(device_hours="1 h", price=q),
    "tariff": lambda q: money.cost(energy="1 kWh", tariff=q),
    "flops": lambda q: compute.pf_days(q),
    "peak": lambda q: compute.from_device_time(1, q, "1 d", 0.3),
    "sci": lambda q: carbon.sci("1 kWh", q, "1 g"),
    "energy of a FLOP": lambda q: compute.pj_per_flop(q, "1 FLOP"),
}
RIGHT = {
    "energy": "J", "factor": "g/kWh", "water": "L/kWh", "embodied": "g", "time of use": "s",
    "device-hours": "s", "price": "USD/h", "tariff": "USD/kWh", "flops": "FLOP",
    "peak": "FLOP/s", "sci": "g/kWh", "energy of a FLOP": "J",
}  # fmt: skip


@given(st.sampled_from(sorted(WRONG)), st.sampled_from(UNITS))
def test_every_function_refuses_quantities_of_another_kind(what, unit):
    kind, right = unit_of(unit)[0], unit_of(RIGHT[what])[0]
    euros = unit_of(RIGHT[what].replace("USD", "EUR"))[0]
    assume(kind not in (right, euros))
    with pytest.raises(UnitError):
        WRONG[what](quantity(7.0, unit))


@given(st.sampled_from(sorted(WRONG)), st.floats(1, 1e6))
def test_every_function_refuses_numbers_without_a_unit(what, number):
    with pytest.raises(ValueError, match="unit"):
        WRONG[what](number)


@given(ranged("kWh"), st.floats(5, 1100), st.floats(1, 3))
def test_co2e_lies_in_its_range_and_grows_with_each_factor(energy, g, pue):
    q = carbon.co2e(energy, factor=quantity(g, "g/kWh"), pue=pue)
    assert q.low <= q.value <= q.high
    assert q.to("g") == pytest.approx(energy.to("kWh") * g * pue)
    assert carbon.co2e(energy * 2, factor=quantity(g, "g/kWh"), pue=pue).value > q.value
    assert carbon.co2e(energy, factor=quantity(g, "g/kWh"), pue=pue * 1.5).value > q.value
    more = quantity(min(g * 1.1, 1100.0), "g/kWh")
    assert carbon.co2e(energy, factor=more, pue=pue).value >= q.value


@given(ranged("kWh"))
def test_bounds_without_pue_hold_every_pue_between_them(energy):
    q = carbon.co2e(energy, region="GBR")
    for pue in (1.0, 1.2, 1.56):
        inner = carbon.co2e(energy, region="GBR", pue=pue)
        assert q.low <= inner.value * (1 + 1e-9) and inner.value <= q.high * (1 + 1e-9)


@given(ranged("kg"), st.floats(1, 1e5), st.floats(0.5, 20), st.floats(0.1, 1))
def test_embodied_share_is_monotone(total, hours, years, used):
    def share(h, y, u):
        return embodied.share_of(total, quantity(h, "h"), y, utilisation=u).value

    one = share(hours, years, used)
    assert share(hours * 2, years, used) > one > share(hours, years * 2, used)
    assert share(hours, years, used / 2) > one


def shown(text):
    """Digits after the point, number, and the range that a quantity prints."""
    found = re.fullmatch(r"(-?[\d.]+)(?: \S+)?(?: \((-?[\d.]+) to (-?[\d.]+)\))?", text)
    assert found, text
    return found.groups()


@given(ranged("kWh"))
def test_digits_match_the_uncertainty(q):
    """The last digit shown is of the size of half the range, neither finer nor much coarser."""
    assume((q.high - q.low) > 1e-6 * q.value)
    number, low, high = shown(str(q))
    half = (q.high - q.low) / 2
    unit = next(u for u in ("GWh", "MWh", "kWh", "Wh", "J") if str(q).split()[1] == u)
    half /= quantity(1, unit).value
    if "." in number:
        step = 10.0 ** -len(number.split(".")[1])
    else:
        step = 10.0 ** max(0, math.floor(math.log10(half)) if half >= 1 else 0)
    assert step <= half * (1 + 1e-9) or step == 1.0
    assert half < 10 * step * (1 + 1e-9)
    assert (low is None) == (high is None)


@st.composite
def some_runs(draw):
    many = draw(st.integers(1, 12))
    energies = st.one_of(st.just(math.nan), st.floats(0, 1e9))
    return [
        Run(
            f"{i:032x}", "s", energy_j=draw(energies), duration_s=draw(st.floats(0, 1e5)),
            device_count=draw(st.integers(1, 8)), flops=draw(energies),
            region=draw(st.sampled_from(("", "FRA", "POL"))),
            energy_provenance=draw(st.sampled_from(("measured", "modelled"))),
        )
        for i in range(many)
    ]  # fmt: skip


@given(some_runs())
def test_more_runs_never_cost_less(runs):
    told = {"region": "GBR", "pue": 1.3, "price_per_device_hour": "2 USD/h"}
    part, whole = footprint.of(runs[:-1], told), footprint.of(runs, told)
    for what in ("it_energy", "facility_energy", "co2e", "device_hours", "money", "flops"):
        less, more = getattr(part, what), getattr(whole, what)
        if less.known and more.known:
            assert more.value >= less.value * (1 - 1e-9)
        if more.known and len(runs) > 1:
            assert less.known
        least = more.low if not math.isnan(more.low) else math.inf
        assert math.isnan(less.low) or least >= less.low * (1 - 1e-9)
    assert whole.facility_energy.known == whole.it_energy.known
    if whole.it_energy.known and whole.it_energy.value > 0:
        assert whole.facility_energy.value > whole.it_energy.value or whole.it_energy.value < 1e-300


@given(some_runs())
def test_no_figure_without_provenance_and_basis(runs):
    fp = footprint.of(runs, {"region": "GBR", "pue": 1.3})
    for name in footprint.Footprint.__slots__:
        q = getattr(fp, name)
        if isinstance(q, Quantity):
            assert q.basis and q.provenance
    for _, q in fp.factors:
        assert q.basis
    if any(r.energy_provenance == "modelled" and r.energy_j >= 0 for r in runs):
        assert fp.it_energy.provenance in ("modelled", "estimated")
