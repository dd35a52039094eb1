"""What a study cost in all: energy, CO2e, water, money, hours and FLOPs, each with its account.

Failed runs count: they used the same electricity. Energy of the IT equipment and of the facility
are two figures. What is not known is unknown, and its ``basis`` says what to tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from picojoule.errors import UsageError
from picojoule.green import compute, embodied, factors, money, places
from picojoule.green._sums import Sums
from picojoule.green.model import Run, Study
from picojoule.green.quantities import Quantity, quantity, total, unknown, with_unit
from picojoule.green.water import water

#: Settings that a footprint heeds; others are left alone.
SETTINGS: Mapping[str, str] = {
    "region": "country, US state or cloud region of the runs that have none of their own",
    "carbon_factor": "own factor of the grid, '211 g/kWh', in place of a region's",
    "mix": "own mix, {'wind': 0.6, 'gas': 0.4}, in place of both",
    "everywhere": "True: these three hold for runs with a region of their own, too",
    "pue": "own PUE, or 'personal'",
    "personal": "True: machines of one's own, PUE 1.0",
    "price_per_device_hour": "own price, '2.5 USD/h'",
    "vendor": "whose published price to take, 'Lambda Labs'",
    "price_location": "part of the name of the location of that price",
    "price_term": "'on-demand', '1y' or '3y'",
    "price_per_kwh": "tariff of facility energy, '0.25 EUR/kWh', in place of a price of devices",
    "wue_on": "water on site, '0.18 L/kWh'",
    "wue_off": "water of generation, '3.1 L/kWh'",
    "water_variant": "'li' or 'morrison'",
    "embodied": "CO2e of making one device with its part of the server, '460 kg'",
    "lifetime_years": "how long that device serves",
    "utilisation": "share of that time in which it works",
    "tables": "own tables of factors, see picojoule.green.tables",
}


@dataclass(frozen=True, slots=True)
class Footprint:
    """What the runs cost. Each quantity may be unknown, with the reason in its ``basis``.

    Attributes:
        it_energy: J of the IT equipment.
        facility_energy: J with PUE.
        co2e: g, operational: facility energy x intensity, location-based.
        embodied: g, share of making the devices; no part of ``co2e``.
        water: L, on and off site.
        money: of device-hours or of energy, in the currency told.
        device_hours: s; wall time x devices.
        wall_s: s, one run after another.
        wall_parallel_s: s, of the longest run: had all run at once.
        flops: model FLOPs.
        pf_days: the same, for showing in petaflop/s-days.
        pj_per_flop: J/FLOP of IT energy and model FLOPs, over runs with both.
        runs: how many there are.
        factors: what went in: (what, quantity with source and year).
    """

    it_energy: Quantity
    facility_energy: Quantity
    co2e: Quantity
    embodied: Quantity
    water: Quantity
    money: Quantity
    device_hours: Quantity
    wall_s: Quantity
    wall_parallel_s: Quantity
    flops: Quantity
    pf_days: Quantity
    pj_per_flop: Quantity
    runs: int
    factors: tuple[tuple[str, Quantity], ...]


def of(
    study_or_runs: Study | Sequence[Run], settings: Mapping[str, Any] | None = None
) -> Footprint:
    """The footprint of a study or of some runs.

    Args:
        study_or_runs: a ``Study`` (its own settings hold where ``settings`` says nothing), or runs.
        settings: see ``SETTINGS``. The region of a run goes before that of the study.

    Raises:
        UnknownPlaceError: the region of the settings is no place. A run's own unknown region
            leaves its CO2e unknown.
        UsageError: two factors for the same energy; a price of devices and a tariff of energy; a
            setting that is no quantity of its kind.
    """
    own = study_or_runs.settings if isinstance(study_or_runs, Study) else {}
    told = {k: v for k, v in {**own, **(settings or {})}.items() if v is not None and v != ""}
    sums = Sums(study_or_runs)
    used: dict[str, Quantity] = {}
    energy = sums.energy()
    power = _power(sums, told, used)
    flops = sums.flop()
    hours = sums.device_time()
    return Footprint(
        it_energy=energy,
        facility_energy=power["facility"],
        co2e=power["co2e"],
        embodied=_embodied(sums, told, used),
        water=power["water"],
        money=_money(sums, power["facility"], told, used),
        device_hours=hours,
        wall_s=sums.wall(),
        wall_parallel_s=sums.longest(),
        flops=flops,
        pf_days=flops,
        pj_per_flop=_pj_per_flop(sums, used),
        runs=sums.count,
        factors=tuple(used.items()),
    )


def _power(sums: Sums, told: Mapping[str, Any], used: dict[str, Quantity]) -> dict[str, Quantity]:
    """Facility energy, CO2e and water, summed over the regions of the runs."""
    region, tables = told.get("region"), told.get("tables")
    factor, mix = told.get("carbon_factor"), told.get("mix")
    factors.chosen(
        region, factor, mix, tables=tables, setting=True
    )  # refuses two of them, or no place
    everywhere = bool(told.get("everywhere"))
    own_regions = sorted(r for r in sums.regions.distinct if r)
    if own_regions and (factor is not None or mix is not None) and not everywhere:
        raise UsageError(
            f"{'carbon_factor' if factor is not None else 'mix'} and the runs' own regions "
            f"({', '.join(own_regions[:3])}) are two factors for one energy; if yours holds for "
            "all runs, say everywhere=True in Python, --set everywhere=true in a shell"
        )
    parts: dict[str, list[Quantity]] = {"facility": [], "co2e": [], "water": []}
    groups = [""] if everywhere or not own_regions else sorted(sums.regions.distinct)
    for name in groups:
        among = None if len(groups) == 1 and not name else sums.regions.being(name)
        where = name or region
        energy = sums.energy(among).because("")
        label = f" {where}" if where else ""
        reason = _no_place(name, tables)
        if reason:
            parts["facility"].append(energy * factors.pue(None, given=_pue(told), tables=tables))
            parts["co2e"].append(unknown("g", reason))
            parts["water"].append(unknown("L", reason))
            continue
        effective = factors.pue(where, given=_pue(told), tables=tables)
        intensity = (
            factors.intensity(name, tables=tables)
            if name
            else factors.chosen(region, factor, mix, tables=tables, setting=True)
        )
        facility = energy * effective
        used[f"PUE{label}"], used[f"intensity{label}"] = effective, intensity
        parts["facility"].append(facility)
        parts["co2e"].append(facility * intensity)
        parts["water"].append(
            water(
                energy, region=where, pue=_pue(told), wue_on=told.get("wue_on"),
                wue_off=told.get("wue_off"), variant=told.get("water_variant", "li"),
                tables=tables,
            )
        )  # fmt: skip
    units = {"facility": "J", "co2e": "g", "water": "L"}
    whole = sums.energy().basis
    return {k: _added(v, units[k], whole) for k, v in parts.items()}


def _added(parts: Sequence[Quantity], unit: str, basis: str = "") -> Quantity:
    """The sum; where parts are unknown, their known lower ends still count."""
    out = total(parts, unit)
    if not out.known and len(parts) > 1:
        low = sum(p.low for p in parts if p.low > 0)
        out = Quantity(
            out.value, out.dimension, low or out.low, out.high, out.provenance, out.basis
        )
    return out.because("; ".join(filter(None, (basis, out.basis))))


def _pue(told: Mapping[str, Any]) -> Any:
    if told.get("personal"):
        if told.get("pue") not in (None, "personal", 1, 1.0):
            raise UsageError("personal= and pue= are two PUEs; say only one of them")
        return "personal"
    return told.get("pue")


def _no_place(name: str, tables: Any) -> str:
    """Why the region of a run has no factor; "" if it has one."""
    if not name:
        return ""
    try:
        factors.intensity(name, tables=tables)
    except places.UnknownPlaceError as error:
        return str(error)
    return ""


def _money(
    sums: Sums, facility: Quantity, told: Mapping[str, Any], used: dict[str, Quantity]
) -> Quantity:
    rented = told.get("price_per_device_hour") is not None or told.get("vendor") is not None
    if rented and told.get("price_per_kwh") is not None:
        raise UsageError(
            "price_per_device_hour= (or vendor=) and price_per_kwh= are two ways to pay for one "
            "energy; say only one of them"
        )
    if told.get("price_per_device_hour") is not None and told.get("vendor") is not None:
        raise UsageError("price_per_device_hour= and vendor= are two prices; say only one of them")
    if told.get("price_per_kwh") is not None:
        tariff = quantity(told["price_per_kwh"])
        used["tariff"] = tariff if tariff.basis else tariff.because("own tariff")
        return money.cost(energy=facility, tariff=used["tariff"])
    if told.get("price_per_device_hour") is not None:
        price = quantity(told["price_per_device_hour"])
        used["price"] = price if price.basis else price.because("own price")
        return money.cost(device_hours=sums.device_time(), price=used["price"])
    return _published_money(sums, told, used)


def _published_money(sums: Sums, told: Mapping[str, Any], used: dict[str, Quantity]) -> Quantity:
    ask = (
        "no price: say price_per_device_hour='2 USD/h', vendor='...' or "
        "price_per_kwh='0.25 EUR/kWh'"
    )
    names = sorted(sums.devices.distinct)
    if not any(names):
        return unknown("USD", ask)
    parts = []
    for name in names:
        hours = sums.device_time(sums.devices.being(name))
        if not name:
            parts.append(unknown("USD", "device of some runs not named"))
            continue
        price = money.price_of(
            name, vendor=told.get("vendor"), location=told.get("price_location"),
            term=told.get("price_term", "on-demand"), tables=told.get("tables"),
        )  # fmt: skip
        # What ``price_of`` calls price= is a setting here.
        price = price.because(price.basis.replace("price='2", "price_per_device_hour='2"))
        used[f"price {name}"] = price
        parts.append(money.cost(device_hours=hours, price=price))
    return _added(parts, "USD")


def _embodied(sums: Sums, told: Mapping[str, Any], used: dict[str, Quantity]) -> Quantity:
    if told.get("embodied") is not None:
        if told.get("lifetime_years") is None:
            return unknown("g", "embodied= needs lifetime_years=, such as 4")
        made = with_unit(told["embodied"], "kg", "embodied")
        used["embodied, one device"] = made if made.basis else made.because("own figure")
        return embodied.share_of(
            used["embodied, one device"], sums.device_time(), told["lifetime_years"],
            utilisation=told.get("utilisation", 1.0),
        )  # fmt: skip
    names = sorted(sums.devices.distinct)
    if not any(names):
        return unknown("g", "no device named; say embodied='460 kg' and lifetime_years=4")
    parts = []
    for name in names:
        hours = sums.device_time(sums.devices.being(name))
        share = embodied.of_device(name, hours, tables=told.get("tables"))
        if share.known:
            used[f"embodied {name}"] = embodied.of_device(name, "1 h", tables=told.get("tables"))
        parts.append(share)
    return _added(parts, "g")


def _pj_per_flop(sums: Sums, used: dict[str, Quantity]) -> Quantity:
    both = sums.with_energy_and_flops()
    many = int(both.sum())
    if not many:
        return unknown("pJ/FLOP", "no run has both energy and FLOPs")
    ratio = compute.pj_per_flop(sums.energy(both), sums.flop(both))
    for name in filter(None, sums.devices.counts(both)):
        floor = compute.nameplate_floor(name)
        if floor.known:
            used[f"nameplate floor {name}"] = floor
    return ratio.because(f"IT energy over model FLOPs of {many} of {sums.count} runs")
