"""An Optuna callback that ends a search when another trial is not worth its energy.

>>> with pj.profile() as prof:                                     # doctest: +SKIP
...     stop = StopWhenNotWorth("0.001/kWh", profile=prof)
...     study.optimize(objective, n_trials=500, callbacks=[stop])
"""

from __future__ import annotations

import math
import re
import threading
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from picojoule.errors import MissingExtraError, UsageError
from picojoule.green import carbon, trials
from picojoule.green._rates import energy_of
from picojoule.green.quantities import Quantity, unit_of
from picojoule.green.refusal import Refusal

if TYPE_CHECKING:
    from picojoule import _profile


class StopWhenNotWorth:
    """Stops a search when one more trial is expected to gain less for its energy than a threshold.

    After each trial: the expected best of n and of n - 1 of the n trials so far (Dodge et al. 2019,
    with replacement), over the mean energy of a trial, pruned and failed ones included. Trials that
    an earlier process made count as results, at the mean energy of those seen here. The
    difference is a little more than what the next trial is expected to bring, so it stops late
    rather than early.

    Args:
        threshold: points of the objective by energy ("0.001/kWh") or by CO2e ("0.01/kg").
        profile: an open profile around the search, to read each trial's energy from.
        energy: in place of it, a function that tells the joules of the search so far.
        least_trials: never stop before so many trials have a value.
        region: for a threshold by CO2e; see ``carbon.co2e``.
        factor: in place of a region's.
        pue: facility over IT energy, for CO2e.
        assume_independent: the expected best of n holds for independent draws only. A study whose
            sampler is not random is refused unless this is True, which warns in its place.

    Raises:
        UsageError: neither or both of ``profile`` and ``energy``, a threshold that is no gain by
            energy or CO2e, or CO2e without a factor.
        MissingExtraError: Optuna is not installed.

    Attributes:
        gain: expected gain by the threshold's unit after the last trial; nan before there is one.
        stopped: why the search was stopped; "".
    """

    def __init__(
        self,
        threshold: str | Quantity,
        *,
        profile: _profile.profile | None = None,
        energy: Callable[[], float] | None = None,
        least_trials: int = 10,
        region: str | None = None,
        factor: Any = None,
        pue: Any = None,
        assume_independent: bool = False,
    ) -> None:
        """See the class."""
        _optuna()
        if (profile is None) == (energy is None):
            raise UsageError("say profile= or energy=, to read what trials take")
        self._threshold, self._unit, self._size = _threshold(threshold)
        self._profile, self._energy = profile, energy
        self._least = max(2, int(least_trials))
        self._per_joule = 1.0
        if self._unit[0] == "g":
            one = carbon.co2e("1 kWh", region=region, factor=factor, pue=pue)
            if not one.known:
                raise UsageError(f"a threshold by CO2e needs its factor: {one.basis}")
            self._per_joule = one.value / 3.6e6
        self._assume = assume_independent
        self._asked = False
        self._last = self._joules()
        self._spent: list[float] = []
        self._lock = threading.Lock()
        self.gain = math.nan
        self.stopped = ""

    def __call__(self, study: Any, trial: Any) -> None:
        """After each trial, by ``study.optimize(callbacks=[...])``.

        Raises:
            UsageError: the study has several objectives.
            Refusal: its sampler is not random.
        """
        self._ask(study)
        with self._lock:
            # Of trials that run at once the differences are not theirs, but their sum is.
            now = self._joules()
            self._spent.append(now - self._last)
            self._last = now
            known = [j for j in self._spent if not math.isnan(j)]
        values, ended = _finished(study)
        if len(values) < self._least or not known:
            return
        better = study.direction.name == "MAXIMIZE"
        last, before = (
            trials.expected_best(values, n, larger_is_better=better)
            for n in (len(values), len(values) - 1)
        )
        # What did not end with a value was paid as well.
        each = sum(known) / len(known) * ended / len(values)
        each *= self._per_joule / self._size
        gain = abs(last - before)
        self.gain = gain / each if each > 0 else math.inf if gain > 0 else math.nan
        if self.gain < self._threshold:
            self.stopped = (
                f"after {len(values)} trials another one is expected to gain {self.gain:.3g} for "
                f"each {self._unit[1]}, less than {self._threshold:g}"
            )
            study.stop()

    def _joules(self) -> float:
        if self._energy is not None:
            return float(self._energy())
        assert self._profile is not None
        if self._profile.finished:
            return energy_of(self._profile.result).value
        return energy_of(self._profile.snapshot()).value

    def _ask(self, study: Any) -> None:
        """Whether the expected best of n holds for this study; asked once."""
        if self._asked:
            return
        optuna = _optuna()
        if len(study.directions) > 1:
            raise UsageError("with several objectives there is no one best: no gain can be told")
        sampler = study.sampler
        if not isinstance(sampler, optuna.samplers.RandomSampler):
            words = (
                f"the expected best of n holds for independent draws, and {type(sampler).__name__} "
                "learns from its trials or follows a grid"
            )
            if not self._assume:
                raise Refusal(
                    f"{words}; use optuna.samplers.RandomSampler(), or say assume_independent=True"
                )
            warnings.warn(f"{words}: the gain is a guess", UserWarning, stacklevel=4)
        self._asked = True


def _finished(study: Any) -> tuple[list[float], int]:
    """(values of the complete trials, number of all that ended)."""
    values, ended = [], 0
    for t in study.get_trials(deepcopy=False):
        if not t.state.is_finished():
            continue
        ended += 1
        if t.state.name == "COMPLETE" and t.value is not None and math.isfinite(t.value):
            values.append(float(t.value))
    return values, ended


def _threshold(told: str | Quantity) -> tuple[float, tuple[str, str], float]:
    """(number, (base unit, its name), size) of "0.001/kWh"."""
    if isinstance(told, str):
        match = re.fullmatch(r"\s*(\d*\.?\d+(?:[eE][-+]?\d+)?)\s*/\s*([A-Za-z]+)\s*", told)
        if match is not None:
            dimension, size = unit_of(match.group(2))
            if dimension in ((("J", 1),), (("g", 1),)):
                value = float(match.group(1))
                if value > 0:
                    return value, (dimension[0][0], match.group(2)), size
    elif told.known and told.value > 0:
        for base, name in (("J", "kWh"), ("g", "kg")):
            if told.dimension == ((base, -1),):
                size = unit_of(name)[1]
                return told.value * size, (base, name), size
    raise UsageError(f"a threshold is a gain above 0 by energy or CO2e ('0.001/kWh'), not {told!r}")


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise MissingExtraError("optuna", "optuna", "StopWhenNotWorth") from None
    return optuna
