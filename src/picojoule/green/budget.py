"""``pj.budget``: how much a run or a study may cost, and a polite stop when it is spent.

Nothing is raised but where the program asks: in ``check``, ``step``, or at the end of a region of
the budget. No thread of picojoule's ever stops the program.
"""

from __future__ import annotations

import math
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from picojoule.errors import PicojouleError, UsageError
from picojoule.green import _rates
from picojoule.green._past import PastRuns
from picojoule.green.forecast import Forecast, Projection
from picojoule.green.model import Study
from picojoule.green.quantities import Quantity

if TYPE_CHECKING:
    from picojoule import _profile
    from picojoule.green.study import OpenStudy
    from picojoule.results import Profile

#: Looking costs at most this share of the time.
_SHARE = 0.02


class BudgetWarning(UserWarning):
    """A budget is nearly spent, will be, is, or cannot be held."""


class BudgetExceeded(PicojouleError):  # noqa: N818 - it says what happened, as StopIteration does
    """A budget is spent. Raised only from ``check``, ``step`` or the end of a budget's region.

    Attributes:
        status: what was spent of what.
    """

    def __init__(self, status: Status) -> None:
        """Say that ``status`` is beyond its limit."""
        super().__init__(f"budget spent: {status}")
        self.status = status


@dataclass(frozen=True, slots=True)
class Status:
    """One limit and what was spent of it.

    Attributes:
        kind: "energy", "co2e", "money", "hours" or "flops".
        limit: how much there is.
        spent: how much of it is gone: by this run, and by the study's others if there is one.
        own: by this run alone.
        forecast: of the whole run and the study so far; None without steps.
    """

    kind: str
    limit: Quantity
    spent: Quantity
    own: Quantity
    forecast: Projection | None = None

    @property
    def share(self) -> float:
        """Spent share of the limit; nan if unknown."""
        return self.spent.value / self.limit.value if self.limit.value > 0 else math.nan

    def __str__(self) -> str:
        """``energy 5.02 kWh of 5.00 kWh (100 %)``."""
        if not self.spent.known:
            return f"{self.kind} unknown of {self.limit} ({self.spent.basis})"
        plain = Quantity(self.spent.value, self.spent.dimension)
        return f"{self.kind} {plain} of {self.limit} ({100 * self.share:.0f} %)"


class budget:  # noqa: N801 - stands beside pj.profile and pj.region
    """Hold a block to a budget of energy, CO2e, money, device-hours or FLOPs.

    >>> with pj.budget(energy="5 kWh", checkpoint=save) as b:      # doctest: +SKIP
    ...     for batch in data:
    ...         train(batch)
    ...         b.step(total=len(data))

    Args:
        energy: of the IT equipment, such as "5 kWh".
        co2: such as "2 kg"; needs ``region`` or ``factor``.
        money: such as "20 EUR"; needs a price.
        hours: of devices (wall time x ``devices``); a number is in hours.
        flops: model FLOPs; a number, or such as "1 pf-days". Those that the profile knows, or those
            told to ``step``.
        study: a study whose earlier and other running runs count as well: its name in the ledger,
            as ``pj.study`` opened it, or a ``Study``, which stays as it is.
        ledger: path or URL of the ledger; None is the default one.
        profile: the open profile to look into; None opens one for the block.
        region: country, US state or cloud region, for CO2e.
        factor: "211 g/kWh", in place of a region's.
        pue: facility over IT energy, for CO2e and a tariff. If it is not known, the upper bound
            holds the budget and ``notes`` says so.
        price_per_device_hour: "2 USD/h".
        price_per_kwh: "0.25 EUR/kWh", of facility energy.
        devices: how many count as device-hours.
        on_exceed: "raise" raises ``BudgetExceeded``, "warn" warns once, a function is called once
            with the ``Status``.
        checkpoint: called first, once, when the budget is spent.
        warn_at: share at which a ``BudgetWarning`` tells that it is nearly spent.
        every_s: look at most so often, and so seldom that looking takes at most 2 % of the time; 0
            looks at each call.

    Raises:
        UsageError: no limit; CO2e without a factor; money without a price; a limit not above 0.
        UnitError: a limit of another kind.
    """

    def __init__(
        self,
        *,
        energy: Any = None,
        co2: Any = None,
        money: Any = None,
        hours: Any = None,
        flops: Any = None,
        study: Study | OpenStudy | str | None = None,
        ledger: Any = None,
        profile: _profile.profile | None = None,
        region: str | None = None,
        factor: Any = None,
        pue: Any = None,
        price_per_device_hour: Any = None,
        price_per_kwh: Any = None,
        devices: float = 1.0,
        on_exceed: str | Callable[[Status], object] = "raise",
        checkpoint: Callable[[], object] | None = None,
        warn_at: float = 0.8,
        every_s: float = 1.0,
    ) -> None:
        """See the class."""
        if not (callable(on_exceed) or on_exceed in ("raise", "warn")):
            raise UsageError(f"on_exceed must be 'raise', 'warn' or a function, not {on_exceed!r}")
        self._past = PastRuns(study, ledger)
        told = {
            "region": region, "carbon_factor": factor, "pue": pue,
            "price_per_device_hour": price_per_device_hour, "price_per_kwh": price_per_kwh,
        }  # fmt: skip
        if co2 is not None:
            _one_factor(self._past.settings, region, factor)
        self._settings = {**self._past.settings, **{k: v for k, v in told.items() if v is not None}}
        self.limits = _rates.limits(energy=energy, co2e=co2, money=money, hours=hours, flops=flops)
        self._rates = _rates.Rates(self.limits, self._settings, devices)
        self.notes: list[str] = list(self._rates.notes)
        self._profile = profile
        self._own_profile: _profile.profile | None = None
        self._on_exceed = on_exceed
        self._checkpoint = checkpoint
        self._warn_at, self._every_s = warn_at, every_s
        self._lock = threading.Lock()
        self._next_look = -math.inf
        self._steps = 0.0
        self._total: float | None = None
        self._told_flops = math.nan
        self._forecasts = {kind: Forecast() for kind in self.limits}
        self._warned: set[str] = set()
        self._stopped: Status | None = None
        self._statuses: dict[str, Status] = {}

    def __enter__(self) -> Self:
        """Begin; opens a profile unless one was given."""
        if self._profile is None:
            from picojoule._profile import profile

            # Joules are enough, unless FLOPs are limited.
            kernels = None if "flops" in self.limits else False
            self._own_profile = self._profile = profile(kernels=kernels, annotations=False)
            self._own_profile.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End. A budget that turns out spent now is said, not raised: the work is done."""
        if self._own_profile is not None:
            self._own_profile.__exit__(kind, error, trace)
        if kind is None and self._stopped is None:
            self._look()
            for status in self._statuses.values():
                if status.share >= 1.0:
                    self._say(f"spent {status.kind}", f"budget spent at the end: {status}")

    def watch(self, profile: _profile.profile) -> Self:
        """Look into this open profile from now on."""
        self._profile = profile
        return self

    @property
    def exceeded(self) -> Status | None:
        """The limit that was passed, once it was; None before."""
        return self._stopped

    @property
    def statuses(self) -> Mapping[str, Status]:
        """Kind of cost -> ``Status``, as of the last look."""
        return dict(self._statuses)

    def check(self, force: bool = False) -> None:
        """Look, if the last look was long enough ago, and stop politely if a limit is passed.

        Args:
            force: look now.

        Raises:
            BudgetExceeded: it is spent and ``on_exceed`` is "raise"; again at each later call.
        """
        with self._lock:
            begin = time.monotonic()
            if self._stopped is None and (force or begin >= self._next_look):
                self._look()
                took = time.monotonic() - begin
                pause = max(self._every_s, took / _SHARE) if self._every_s else 0.0
                self._next_look = time.monotonic() + pause
            first = None
            if self._stopped is None:
                first = next((s for s in self._statuses.values() if s.share >= 1.0), None)
                self._stopped = first
            stopped = self._stopped
        if first is not None:
            self._stop(first)
        elif stopped is None:
            self._warn()
        elif self._on_exceed == "raise":
            raise BudgetExceeded(stopped)

    def step(
        self, done: float | None = None, total: float | None = None, flops: float | None = None
    ) -> None:
        """One step is done: the place to stop, and what the forecast is made of.

        Args:
            done: steps so far in all; None counts one more.
            total: steps of the whole run, for the forecast.
            flops: FLOPs of this step, if the profile does not know them.

        Raises:
            BudgetExceeded: as ``check``.
        """
        with self._lock:
            self._steps = self._steps + 1.0 if done is None else float(done)
            self._total = self._total if total is None else float(total)
            if flops is not None:
                before = 0.0 if math.isnan(self._told_flops) else self._told_flops
                self._told_flops = before + flops
        self.check()

    @contextmanager
    def region(self, name: str) -> Iterator[None]:
        """A ``pj.region`` at whose end the budget is checked, unless an error is on its way.

        Raises:
            BudgetExceeded: as ``check``.
        """
        from picojoule._core import region

        with region(name):
            yield
        self.check()

    def forecast(self, kind: str | None = None, total: float | None = None) -> Projection:
        """What the whole run will have cost, with the study's other runs if there is a study.

        Args:
            kind: of cost; None is the first limit's.
            total: steps of the whole run; None is what ``step`` was told.

        Raises:
            UsageError: there is no such limit, or ``total`` is not known.
        """
        name = next(iter(self.limits)) if kind is None else kind
        if name not in self._forecasts:
            raise UsageError(f"there is no budget of {name!r}; there are: {', '.join(self.limits)}")
        return self._forecasts[name].project(self._total if total is None else total)

    def lines(self) -> list[str]:
        """The limits and what was spent of them as of the last look, a line each; then notes."""
        return [*map(str, self._statuses.values()), *self.notes]

    # ---- looking, saying, stopping ----

    def _look(self) -> None:
        """Fill in the statuses. The caller has the lock, or is the last one."""
        snapshot = self._snapshot()
        for kind, limit in self.limits.items():
            own = self._rates.of(kind, snapshot, self._told_flops)
            others, note = self._past.spent(kind, self._settings, limit)
            if note and note not in self.notes:
                self.notes.append(note)
            spent = own + others if own.known else unknown_like(limit, own.basis)
            self._forecasts[kind].step(self._steps, spent.value)
            ahead = None
            if self._total is not None and self._steps > 0:
                ahead = self._forecasts[kind].project(max(self._total, self._steps))
            self._statuses[kind] = Status(kind, limit, spent, own, ahead)

    def _snapshot(self) -> Profile | None:
        if self._profile is None:
            return None
        if self._profile.finished:
            return self._profile.result
        return self._profile.snapshot()

    def _warn(self) -> None:
        for s in list(self._statuses.values()):
            if not s.spent.known:
                self._say(f"unknown {s.kind}", f"the budget cannot be held: {s}")
            elif s.share >= self._warn_at:
                self._say(f"near {s.kind}", f"budget nearly spent: {s}")
            elif s.forecast is not None and s.forecast.low > s.limit.value:
                f = s.forecast
                whole = Quantity(f.value, s.limit.dimension, f.low, f.high, "modelled")
                self._say(f"ahead {s.kind}", f"the run will pass its budget: {whole} of {s.limit}")

    def _say(self, once: str, text: str) -> None:
        if once not in self._warned:
            self._warned.add(once)
            warnings.warn(text, BudgetWarning, stacklevel=4)

    def _stop(self, status: Status) -> None:
        stop = BudgetExceeded(status)
        if self._checkpoint is not None:
            try:
                self._checkpoint()
            except Exception as failed:
                stop.add_note(f"and the checkpoint failed: {failed!r}")
                raise stop from failed
        if callable(self._on_exceed):
            self._on_exceed(status)
        elif self._on_exceed == "warn":
            self._say(f"spent {status.kind}", str(stop))
        else:
            raise stop


def unknown_like(limit: Quantity, why: str) -> Quantity:
    """An unknown quantity of the kind of ``limit``."""
    return Quantity(math.nan, limit.dimension, provenance="estimated", basis=why)


def _one_factor(kept: Mapping[str, Any], region: str | None, factor: Any) -> None:
    """Refuse an argument that a setting of the study contradicts in another way of telling it."""
    given = {"region": region, "carbon_factor": factor}
    for name, value in given.items():
        against = [k for k in ("region", "carbon_factor", "mix") if k != name and kept.get(k)]
        if value is not None and against and given.get(against[0]) is None:
            argument = "factor" if name == "carbon_factor" else name
            raise UsageError(
                f"{argument}= of the budget and the study's setting {against[0]} are two factors "
                f"for one energy; leave {argument}= out, or take the other from the study: "
                f"'picojoule study set NAME {against[0]}='"
            )
