"""The workloads, by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from picojoule.errors import UsageError
from picojoule.simulate import networks, patterns

if TYPE_CHECKING:
    import numpy as np

    from picojoule.simulate.patterns import Plan
    from picojoule.simulate.sensors import Sensor


@dataclass(frozen=True, slots=True)
class Workload:
    """A way of making spans.

    Attributes:
        name: its name in ``WORKLOADS``.
        function: makes the plan; its keyword parameters are those of the workload.
    """

    name: str
    function: Callable[..., Plan]

    @property
    def help(self) -> str:
        """What it is, and its parameters with their defaults."""
        words = " ".join((inspect.getdoc(self.function) or "").split())
        told = ", ".join(f"{name}={value!r}" for name, value in self.parameters.items())
        return f"{words} Parameters: {told}." if told else words

    @property
    def parameters(self) -> dict[str, Any]:
        """Names and defaults."""
        own = _keywords(self.function)
        if not _takes_more(self.function):
            return own
        fixed = _FIXED.get(self.name, "")
        base = _keywords(networks.layered).items()
        return {**own, **{k: v for k, v in base if k not in own and k != fixed}}

    def make(
        self,
        rng: np.random.Generator,
        duration_s: float,
        sensor: Sensor,
        parameters: Mapping[str, Any],
    ) -> Plan:
        """The plan for these parameters.

        Raises:
            UsageError: a parameter that it does not have, or that cannot be.
        """
        known = self.parameters
        for name in parameters:
            if name not in known:
                raise UsageError(
                    f"the workload {self.name!r} has no parameter {name!r}; "
                    f"it has: {', '.join(known)}"
                )
        return self.function(rng, duration_s, sensor, **parameters)


#: What a workload that is layered otherwise decides by itself.
_FIXED = {"identical": "kinds", "drift": "drift", "aliasing": "step_s"}


def _keywords(function: Callable[..., Plan]) -> dict[str, Any]:
    told = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in told if p.kind is inspect.Parameter.KEYWORD_ONLY}


def _takes_more(function: Callable[..., Plan]) -> bool:
    told = inspect.signature(function).parameters.values()
    return any(p.kind is inspect.Parameter.VAR_KEYWORD for p in told)


_ALL: tuple[Callable[..., Plan], ...] = (
    networks.layered,
    networks.identical,
    networks.decode,
    patterns.alternate,
    networks.drift,
    networks.streams,
    networks.aliasing,
    networks.faults,
    networks.wrong_sensor,
    networks.wrong_prior,
    patterns.constant,
    patterns.square,
    patterns.steps,
    patterns.calibrate,
)

#: All workloads by name; ``WORKLOADS["layered"].help`` tells what it is and its parameters.
WORKLOADS: Mapping[str, Workload] = MappingProxyType(
    {function.__name__: Workload(function.__name__, function) for function in _ALL}
)
