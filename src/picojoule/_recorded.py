"""What a profile recorded, with what this process knows of the work that it did."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from picojoule import _core
from picojoule.errors import NoMeterError, NotFinishedError

if TYPE_CHECKING:
    from picojoule._counts import CountTable
    from picojoule.counters import PmReadings


class PmSampling:
    """The sampler of performance monitors beside a profile, or why there is none."""

    def __init__(self, interval_us: float) -> None:
        from picojoule.counters import PmSampler

        self.interval_us = interval_us
        self.refusal = ""
        self._sampler = PmSampler(interval_us=interval_us)

    def begin(self) -> None:
        try:
            self._sampler.__enter__()
        except NoMeterError as error:
            self.refusal = f"counters were not sampled: {error}"

    def end(self) -> None:
        self._sampler.__exit__()

    def readings(self) -> PmReadings | None:
        try:
            return self._sampler.readings
        except NotFinishedError:  # refused, or the profile is open still
            return None


def recorded(
    session: _core.Session, counts: CountTable | None, pm: PmSampling | None
) -> _core.Trace:
    """What was recorded, with what this process knows of the work that it did."""
    trace = session.trace()
    if pm is not None:
        trace.pm = pm.readings()
    if counts or "picojoule.flops" in sys.modules or "torch._inductor" in sys.modules:
        from picojoule.flops.collect import environment_with_work

        environment = environment_with_work(trace, counts)
        if environment is not None:
            trace.environment = environment
    if pm is not None and pm.refusal:
        from picojoule import _environment

        known = getattr(trace, "environment", None) or _environment.environment(trace)
        trace.environment = {**known, "pm_refusal": pm.refusal}
    return trace
