"""Factors of electricity: g CO2e/kWh by place, own factors and mixes, PUE.

Average, location-based, life-cycle factors of generation. Each is a ``Quantity`` with its source
and year, and with a range by this rule, since sources disagree (Ember's figures against those of
Our World in Data, 207 pairs of the same country and year: 2.6 % at the median, 22 % at the 90th
percentile, 2.3-fold at worst):

- grids of at least 50 TWh a year, the world and the European Union: 6 % either way;
- smaller grids: 22 % either way;
- grids under 1 TWh a year, those of unknown size and small territories: half to twice;
- where the two disagree by a known factor (El Salvador 2.3, Costa Rica 2.2, Guatemala 1.7): that;
- wider where the other source's figure of the same year lies outside;
- US states: 6 % down and 11 % up, for the state table's own national total lies that much below
  the national figure.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from picojoule.errors import UsageError
from picojoule.green import places
from picojoule.green.quantities import Quantity, quantity, unknown, with_unit
from picojoule.green.tables import Row, Tables, maybe, number, own_entry, rows

#: g/kWh outside of which a factor is doubted: wind and nuclear plants are above, coal below.
PLAUSIBLE_G_PER_KWH = (5.0, 1100.0)

#: PUE of a machine that no data centre cools, and of the average data centre.
PERSONAL_PUE = 1.0
AVERAGE_PUE = 1.56
_AVERAGE_PUE_SOURCE = "average data centre, Uptime Institute 2024"

#: Tables whose own entries may be of a region that has no other name.
_KEYED_BY_REGION = ("grid_intensity", "cloud_regions", "wue_offsite")

_LARGE_TWH, _SMALL_TWH = 50.0, 1.0
_LARGE, _MEDIUM = 0.06, 0.22
_KIND = "life-cycle average, range by spread of sources"


class FactorWarning(UserWarning):
    """A factor is outside of what a grid can be expected to have."""


def intensity(region: str, *, tables: Tables | None = None) -> Quantity:
    """Carbon intensity of the electricity of a country, US state or cloud region.

    Args:
        region: see ``places.find``; or a key of ``tables["grid_intensity"]``.
        tables: own tables in place of the shipped ones; see ``picojoule.green.tables``.

    Returns:
        A quantity of g/kWh with its range (see above), source and year. A cloud region has the
        factor of its country or US state.

    Raises:
        UnknownPlaceError: no such place; the message has names that are near.
    """
    own = own_entry("grid_intensity", region, tables) if isinstance(region, str) else None
    if own is not None:
        return _told(own.value, region, own.year, own.source)
    place = places.find(region, tables)
    for key in (place.code, place.grid, place.name):
        own = own_entry("grid_intensity", key, tables)
        if own is not None:
            return _told(own.value, place.name, own.year, own.source)
    where = "" if place.kind != "cloud" else f" for {place.name}"
    if place.grid.startswith("US-"):
        return _of_state(place.grid, where, tables)
    return _of_country(place.grid, where, tables)


def own(factor: Any) -> Quantity:
    """The user's own factor, checked: ``"211 g/kWh"``, ``"0.4 kg/kWh"``, ``"770 lb/MWh"``.

    Raises:
        UnitError: it is no mass by energy.
        UsageError: it is negative, infinite or no number.
    """
    told = with_unit(factor, "g/kWh", "the factor")
    if not told.known:
        raise UsageError("the factor is not a number; leave it out if it is not known")
    if told.value < 0:
        raise UsageError(f"a factor cannot be negative: {told}; offsets are no part of it")
    return _doubted(told if told.basis else told.because("own factor"), "the own factor")


def mix(shares: Mapping[str, float], factors: Mapping[str, Any] | None = None) -> Quantity:
    """An own mix in g CO2e/kWh: the sum of share times factor.

    Args:
        shares: of energy by fuel; they sum to 1, or to 100.
        factors: by fuel, as "820 g/kWh"; those that are left out are the medians of IPCC 2014.

    Raises:
        UsageError: shares that are negative or do not sum to 1; a fuel without a factor.

    >>> str(mix({"wind": 0.5, "gas": 0.5}))
    '250 g/kWh'
    """
    if not shares:
        raise UsageError("a mix needs shares, such as {'wind': 0.6, 'gas': 0.4}")
    parts = {str(fuel): number(share, f"the share of {fuel}") for fuel, share in shares.items()}
    whole = sum(parts.values())
    scale = 100.0 if abs(whole - 100.0) <= 1.0 else 1.0
    if abs(whole / scale - 1.0) > 0.01:
        raise UsageError(f"the shares of a mix sum to 1 (or 100 %), these to {whole:g}")
    told = {str(fuel).casefold(): own(f) for fuel, f in (factors or {}).items()}
    shipped = {r["fuel"]: float(r["g_per_kwh"]) for r in rows("fuel_intensity")}
    value = low = high = 0.0
    used_shipped = False
    for fuel, share in parts.items():
        one = told.get(fuel.casefold())
        if one is None:
            if fuel.casefold() not in shipped:
                raise UsageError(
                    f"no factor of {fuel!r} is known; there are {', '.join(shipped)}; "
                    f"or say factors={{{fuel!r}: '820 g/kWh'}}"
                )
            one = quantity(shipped[fuel.casefold()], "g/kWh")
            used_shipped = True
        part = share / scale
        value, low, high = value + part * one.value, low + part * one.low, high + part * one.high
    said = ", ".join(f"{100 * s / scale:g} % {fuel}" for fuel, s in parts.items())
    source = "IPCC 2014 medians" if used_shipped else "own factors"
    dimension = quantity(1.0, "g/kWh").dimension
    made = Quantity(
        value, dimension, low, high, "published" if used_shipped else "given",
        f"own mix ({said}; {source})",
    )  # fmt: skip
    return _doubted(made, "the mix")


def chosen(
    region: str | None = None,
    factor: Any = None,
    shares: Mapping[str, float] | None = None,
    *,
    tables: Tables | None = None,
    setting: bool = False,
) -> Quantity:
    """The one factor that was told: by region, own, or by an own mix.

    Args:
        region: a country, US state or cloud region.
        factor: own factor, as "211 g/kWh".
        shares: own mix, as ``{"wind": 0.6, "gas": 0.4}``.
        tables: own tables; see ``picojoule.green.tables``.
        setting: whether they are settings of a study, where ``factor`` is called carbon_factor.

    Returns:
        Unknown, with what to say in its basis, if none was told.

    Raises:
        UsageError: two were told, and which of them holds is not for us to guess.
    """
    own_name = "carbon_factor" if setting else "factor"
    told = [
        name
        for name, value in (("region", region), (own_name, factor), ("mix", shares))
        if value is not None and value != ""
    ]
    if len(told) > 1:
        raise UsageError(f"{two_factors(told)} {_only_one(told, setting)}")
    if not told:
        return unknown(
            "g/kWh", f"no factor: say region='GBR', {own_name}='211 g/kWh' or mix={{...}}"
        )
    if factor is not None:
        return own(factor)
    if shares is not None:
        return mix(shares)
    assert region is not None
    return intensity(region, tables=tables)


def two_factors(told: Sequence[str]) -> str:
    """What is wrong with so many ways to tell one factor."""
    count = {2: "two", 3: "three"}.get(len(told), "several")
    return f"{', '.join(told[:-1])} and {told[-1]} are {count} factors for one energy;"


def _only_one(told: Sequence[str], setting: bool) -> str:
    if not setting:
        return "say only one of them. PUE has its own argument: pue=1.15"
    last = told[-1]
    return (
        f"keep one of these settings. One call leaves {last} out with {last}=None in Python, "
        f"--set {last}= in a shell; 'picojoule study set NAME {last}=' takes it from the study"
    )


def pue(
    region: str | None = None,
    *,
    given: Any = None,
    personal: bool = False,
    tables: Tables | None = None,
) -> Quantity:
    """Power usage effectiveness: facility energy for each unit of IT energy.

    Args:
        region: a cloud region has that of the table.
        given: the user's own, or "personal".
        personal: a machine of one's own, cooled by the room it stands in: 1.0.
        tables: own tables; ``tables["cloud_regions"]`` maps a region to its PUE.

    Returns:
        A plain number. Unknown, between 1.0 and 1.56, unless one of the above says more.

    Raises:
        UsageError: below 1, or no number; ``personal`` and a cloud region at once.
    """
    personal = personal or given == "personal"
    place = place_of(region, tables)
    if personal:
        if (given is not None and given != "personal") or (place and place.kind == "cloud"):
            other = "pue" if place is None or place.kind != "cloud" else f"region {region!r}"
            raise UsageError(f"a personal machine has PUE 1.0; {other} says something else")
        return Quantity(PERSONAL_PUE, basis="personal machine, PUE 1.0")
    if given is not None:
        return _given_pue(given)
    if region is not None and (own := own_entry("cloud_regions", region, tables)) is not None:
        said = f"{region}, {own.source}{', ' + own.year if own.year else ''}"
        return _given_pue(own.value).because(f"PUE of {said}")
    row = _cloud_row(place, tables) if place else None
    if row is not None and row["pue"]:
        return Quantity(
            float(row["pue"]),
            provenance="published",
            basis=f"PUE of {row['provider']} {row['region']}, {row['year']} "
            "(provider, by the Green Software Foundation)",
        )
    asked = "say pue='personal' for a machine of your own, a cloud region, or pue=1.2"
    return Quantity(
        math.nan,
        (),
        PERSONAL_PUE,
        AVERAGE_PUE,
        "estimated",
        f"PUE unknown, between {PERSONAL_PUE} (personal machine) and {AVERAGE_PUE} "
        f"({_AVERAGE_PUE_SOURCE}); {asked}",
    )


def wue_onsite(region: str | None, tables: Tables | None = None) -> Quantity:
    """Litres of water that a cloud region's cooling takes for each kWh of IT energy; or unknown."""
    place = place_of(region, tables)
    row = _cloud_row(place, tables) if place else None
    if row is None or not row["wue_l_per_kwh"]:
        return unknown("L/kWh", "water use on site unknown; say wue_on='0.2 L/kWh'")
    said = f"WUE of {row['provider']} {row['region']}, {row['year']} (provider)"
    return quantity(float(row["wue_l_per_kwh"]), "L/kWh", provenance="published", basis=said)


def place_of(region: str | None, tables: Tables | None) -> places.Place | None:
    """Where that is; None if it is not told, or a name of the user's own tables.

    Raises:
        UnknownPlaceError: no such place.
    """
    if region is None or region == "":
        return None
    try:
        return places.find(region, tables)
    except places.UnknownPlaceError:
        if any(own_entry(t, region, tables) for t in _KEYED_BY_REGION):
            return None
        raise


def _cloud_row(place: places.Place, tables: Tables | None) -> Row | None:
    if place.kind != "cloud":
        return None
    for r in rows("cloud_regions", tables):
        if r["provider"] == place.provider and r["region"] == place.code:
            return r
    return None


def _given_pue(given: Any) -> Quantity:
    q = given if isinstance(given, Quantity) else Quantity(number(given, "pue"), basis="own PUE")
    if q.dimension != ():
        raise UsageError(f"PUE is a plain number, not {q}")
    if q.known and q.value < 1.0:
        raise UsageError(f"PUE is at least 1 (facility over IT energy), not {q.value:g}")
    return q


def _of_country(iso3: str, where: str, tables: Tables | None) -> Quantity:
    row = next((r for r in rows("grid_intensity", tables) if r["country_iso3"] == iso3), None)
    if row is None:
        return unknown("g/kWh", f"the table of grid_intensity has no {iso3}")
    value, year = float(row["gco2e_per_kwh"]), row["year"]
    said = f"{_short(row['source'])} {year}, {row['country']} ({iso3}){where}, {_KIND}"
    low, high = _range(iso3, value, year)
    made = quantity(value, "g/kWh", low=low, high=high, provenance="published", basis=said)
    return _doubted(made, f"the factor of {row['country']}")


def _of_state(code: str, where: str, tables: Tables | None) -> Quantity:
    name = next(r["name"] for r in rows("us_states") if r["code"] == code)
    table = {r["region"]: r for r in rows("grid_intensity_us_states", tables)}
    row = table.get(name)
    if row is None:
        return unknown("g/kWh", f"the table of US states has no {name}")
    value = float(row["gco2e_per_kwh"])
    said = f"{_short(row['source'])} {row['year']}, {name} ({code}){where}, {_KIND}"
    high = value * max(1.0 + _LARGE, _states_below())
    low = value * (1.0 - _LARGE)
    made = quantity(value, "g/kWh", low=low, high=high, provenance="published", basis=said)
    return _doubted(made, f"the factor of {name}")


@functools.cache
def _states_below() -> float:
    """The national figure over the state table's own total: two tables of one source."""
    states = next(r for r in rows("grid_intensity_us_states") if r["region"] == "US Total")
    nation = next(r for r in rows("grid_intensity") if r["country_iso3"] == "USA")
    return float(nation["gco2e_per_kwh"]) / float(states["gco2e_per_kwh"])


def _range(iso3: str, value: float, year: str) -> tuple[float, float]:
    if value <= 0:  # rounded away: all of it is hydro power
        hydro = next(float(r["g_per_kwh"]) for r in rows("fuel_intensity") if r["fuel"] == "hydro")
        return value, hydro
    facts = next((r for r in rows("countries") if r["country_iso3"] == iso3), {})
    twh, known_ratio = maybe(facts, "generation_twh"), maybe(facts, "same_year_ratio")
    if iso3 in ("WLD", "EUU") or twh >= _LARGE_TWH:
        low, high = value * (1 - _LARGE), value * (1 + _LARGE)
    elif twh >= _SMALL_TWH:
        low, high = value * (1 - _MEDIUM), value * (1 + _MEDIUM)
    else:
        low, high = value / 2, value * 2
    if not math.isnan(known_ratio):
        low, high = min(low, value / known_ratio), max(high, value * known_ratio)
    other = maybe(facts, "other_gco2e_per_kwh")
    if not math.isnan(other) and facts.get("other_year") == year:
        low, high = min(low, other), max(high, other)
    return low, high


def _told(value: float | Quantity, region: str, year: str, source: str) -> Quantity:
    when = f" {year}" if year else ", no year told"
    q = quantity(value, "g/kWh") if not isinstance(value, Quantity) else own(value)
    return _doubted(q.because(f"{source}{when}, {region}"), f"the factor of {region}")


def _doubted(q: Quantity, what: str) -> Quantity:
    value = q.to("g/kWh")
    low, high = PLAUSIBLE_G_PER_KWH
    if not low <= value <= high:
        warnings.warn(
            f"{what} is {value:g} g/kWh; grids lie between {low:g} and {high:g} "
            "(is it kg for g, or a rounded small grid?)",
            FactorWarning,
            stacklevel=4,
        )
        return q.because(f"{q.basis}; doubtful: outside {low:g} to {high:g} g/kWh")
    return q


def _short(source: str) -> str:
    """The source alone: of "Ember yearly electricity data (CC-BY-4.0) via ..." it is "Ember"."""
    return source.split(" ", 1)[0].rstrip(",;") if source.startswith(("Ember", "OWID")) else source
