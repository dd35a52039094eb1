"""Where a place is: countries, US states and cloud regions by their codes and names.

Nothing here asks where this machine is: a place is told or unknown.
"""

from __future__ import annotations

import difflib
import functools
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from picojoule.errors import UsageError
from picojoule.green.tables import Tables, rows

#: Prefixes that say whose region a cloud region is: "aws:us-east-1".
_PROVIDERS: Mapping[str, str] = {
    "aws": "Amazon Web Services",
    "amazon": "Amazon Web Services",
    "amazon web services": "Amazon Web Services",
    "gcp": "Google Cloud",
    "google": "Google Cloud",
    "google cloud": "Google Cloud",
    "azure": "Microsoft Azure",
    "microsoft azure": "Microsoft Azure",
}


@dataclass(frozen=True, slots=True)
class Place:
    """A place whose electricity is known.

    Attributes:
        kind: "country", "state" or "cloud".
        code: ISO 3166-1 alpha-3 ("GBR"), ISO 3166-2 ("US-VA") or the provider's ("eu-west-1").
        name: as people say it.
        grid: code of the country or US state that it draws its electricity from.
        country: ISO 3166-1 alpha-3 of that.
        provider: of a cloud region; "".
    """

    kind: str
    code: str
    name: str
    grid: str
    country: str
    provider: str = ""


class UnknownPlaceError(UsageError):
    """No country, US state or cloud region has that name, or several have."""


def find(region: str, tables: Tables | None = None) -> Place:
    """The place of that code or name.

    Args:
        region: ISO 3166-1 code of a country (three letters or two) or its name; a US state as
            "US-VA" or by name; a cloud region, if need be with its provider ("aws:eu-west-1").
            Two letters alone are a country. "WLD" and "EUU" are the world and the European Union.
        tables: own tables; see ``picojoule.green.tables``.

    Raises:
        UnknownPlaceError: there is none, with the names that are near; or more than one.
    """
    if not isinstance(region, str) or not region.strip():
        raise UnknownPlaceError(
            f"{region!r} is no place; say a country (GBR), a US state (US-VA) or a cloud region "
            "(eu-west-1)"
        )
    found = _index_of(tables).get(_key(region), ())
    if not found and ":" in region:
        provider, _, name = region.partition(":")
        wanted = _PROVIDERS.get(provider.strip().casefold(), "")
        found = tuple(p for p in _index_of(tables).get(_key(name), ()) if p.provider == wanted)
    if len(found) == 1:
        return found[0]
    if found:
        ways = " or ".join(f"{p.code} ({p.kind})" for p in found)
        raise UnknownPlaceError(f"{region!r} is more than one place; say {ways}")
    near = _near(region, tables)
    hint = f"; near it: {', '.join(near)}" if near else ""
    raise UnknownPlaceError(
        f"no country, US state or cloud region is called {region!r}{hint}. "
        "Say a country (GBR), a US state (US-VA), a cloud region (eu-west-1), or your own factor "
        "(factor='211 g/kWh'; as a study's setting: carbon_factor)"
    )


def near_names(name: str, among: Iterable[str]) -> list[str]:
    """Up to four of the names that look like ``name``, or hold it, nearest first."""
    names = list(among)
    keys = {_key(n): n for n in names}
    close = difflib.get_close_matches(_key(name), keys, n=4, cutoff=0.6)
    holding = [k for k in keys if _key(name) and _key(name) in k]
    return [keys[k] for k in dict.fromkeys([*close, *holding])][:4]


def _near(region: str, tables: Tables | None) -> list[str]:
    index = _index_of(tables)
    keys = difflib.get_close_matches(_key(region), index, n=8, cutoff=0.6)
    return list(dict.fromkeys(f"{p.name} ({p.code})" for k in keys for p in index[k]))[:4]


def _key(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", " ", plain.casefold()).strip()


def _index_of(tables: Tables | None) -> Mapping[str, tuple[Place, ...]]:
    if (tables or {}).get("cloud_locations") is None:
        return _shipped_index()
    return _index(rows("cloud_locations", tables))


@functools.cache
def _shipped_index() -> Mapping[str, tuple[Place, ...]]:
    return _index(rows("cloud_locations"))


def _index(clouds: tuple[Mapping[str, str], ...]) -> Mapping[str, tuple[Place, ...]]:
    out: dict[str, tuple[Place, ...]] = {}

    def add(place: Place, *names: str) -> None:
        for name in filter(None, (place.code, place.name, *names)):
            key = _key(name)
            if place not in out.get(key, ()):
                out[key] = (*out.get(key, ()), place)

    spoken = {r["country_iso3"]: r["country"] for r in rows("grid_intensity")}
    for r in rows("countries"):
        iso3 = r["country_iso3"]
        country = Place("country", iso3, spoken[iso3], iso3, iso3)
        add(country, r["iso2"], *r["names"].split("|"))
    for r in rows("us_states"):
        add(Place("state", r["code"], r["name"], r["code"], "USA"))
    for r in clouds:
        grid = r["grid"]
        iso3 = "USA" if grid.startswith("US-") else grid
        name = f"{r['provider']} {r['region']}"
        add(Place("cloud", r["region"], name, grid, iso3, r["provider"]))
    return out
