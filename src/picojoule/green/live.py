"""Live grid intensity, for those who ask: small clients that speak to the network when called.

Nothing in picojoule calls them, nothing finds out where this machine is, and importing this module
opens no connection. What a provider says is a factor like any other::

    from picojoule.green import carbon, live

    now = live.UKCarbonIntensity().intensity("GBR")
    carbon.co2e("5 kWh", factor=now, pue="personal")
"""

from __future__ import annotations

import json
import math
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from picojoule.errors import PicojouleError, UsageError
from picojoule.green import places
from picojoule.green.quantities import Quantity, quantity

_MOST_BYTES = 1_000_000


class ProviderError(PicojouleError):
    """A live provider could not be reached or did not answer with a number."""


@runtime_checkable
class IntensityProvider(Protocol):
    """Whoever knows the intensity of a region's grid now."""

    def intensity(self, region: str) -> Quantity:
        """Grid intensity of the region now, with time and source in its ``basis``."""
        ...


class UKCarbonIntensity:
    """The Carbon Intensity API of Great Britain's system operator; needs no key.

    Direct emissions of generation, so lower than the life-cycle factors of the tables.
    """

    def __init__(
        self, base_url: str = "https://api.carbonintensity.org.uk", timeout_s: float = 10.0
    ) -> None:
        """Hold the address; nothing is sent until ``intensity`` is called."""
        self._base_url = _checked(base_url)
        self._timeout_s = timeout_s

    def intensity(self, region: str = "GBR") -> Quantity:
        """The current half hour's figure; the forecast, and said so, while there is no other.

        Raises:
            UsageError: another region than Great Britain.
            ProviderError: no answer, or not one with a number.
        """
        if places.find(region).country != "GBR":
            raise UsageError(f"this provider knows Great Britain only, not {region!r}")
        url = f"{self._base_url}/intensity"
        answer = _get(url, self._timeout_s)
        try:
            half_hour = answer["data"][0]
            figures = half_hour["intensity"]
            actual = figures.get("actual")
            value = actual if actual is not None else figures["forecast"]
            since = str(half_hour["from"])
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise ProviderError(f"{url} answered in a form that is not known: {error!r}") from error
        kind = "actual" if actual is not None else "forecast"
        return _factor(value, url, f"{kind}, half hour from {since}, direct emissions")


class ElectricityMaps:
    """The API of Electricity Maps; needs a token of one's own, and its terms hold."""

    def __init__(
        self,
        token: str,
        base_url: str = "https://api.electricitymaps.com/v3",
        timeout_s: float = 10.0,
    ) -> None:
        """Hold token and address; nothing is sent until ``intensity`` is called."""
        if not token:
            raise UsageError("Electricity Maps needs a token: ElectricityMaps(token='...')")
        self._token = token
        self._base_url = _checked(base_url)
        self._timeout_s = timeout_s

    def intensity(self, region: str) -> Quantity:
        """Latest figure of a zone, in its own names: "GB", "DE", "US-CAL-CISO".

        Raises:
            UsageError: no region.
            ProviderError: no answer, or not one with a number.
        """
        if not region:
            raise UsageError("say a zone of Electricity Maps, such as 'DE' or 'US-CAL-CISO'")
        asked = urllib.parse.urlencode({"zone": region})
        url = f"{self._base_url}/carbon-intensity/latest?{asked}"
        answer = _get(url, self._timeout_s, {"auth-token": self._token})
        if not isinstance(answer, Mapping) or "carbonIntensity" not in answer:
            raise ProviderError(f"{url} answered without carbonIntensity")
        said = f"{region}, {answer.get('datetime', 'no time told')}"
        kind = answer.get("emissionFactorType")
        estimated = ", estimated" if answer.get("isEstimated") else ""
        return _factor(
            answer["carbonIntensity"], url, f"{said}{', ' + str(kind) if kind else ''}{estimated}"
        )


def _factor(value: Any, url: str, said: str) -> Quantity:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise ProviderError(f"{url} has no intensity now: {value!r}")
    host = urllib.parse.urlsplit(url).hostname
    return quantity(float(value), "g/kWh", provenance="published", basis=f"live, {host}: {said}")


def _checked(url: str) -> str:
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise UsageError(f"a provider's address begins with https:// or http://, not {url!r}")
    return url.rstrip("/")


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: a token is for the host it was given for."""

    def redirect_request(self, *_args: Any, **_named: Any) -> None:
        return None


def _get(url: str, timeout_s: float, headers: Mapping[str, str] | None = None) -> Any:
    asked = urllib.request.Request(url, headers={"Accept": "application/json", **(headers or {})})
    try:
        with urllib.request.build_opener(_Stay).open(asked, timeout=timeout_s) as response:
            text = response.read(_MOST_BYTES)
    except (urllib.error.URLError, OSError) as error:
        raise ProviderError(
            f"{url} could not be asked: {error}. Say factor='211 g/kWh' or region= instead"
        ) from error
    try:
        return json.loads(text)
    except ValueError as error:
        raise ProviderError(f"{url} answered no JSON: {error}") from error
