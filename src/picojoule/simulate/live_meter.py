"""A simulated sensor as a live meter: ``pj.profile(sources="simulate:...")``."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from picojoule.errors import UsageError
from picojoule.simulate.sensors import SENSORS, Sensor, find

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

PREFIX = "simulate:"

#: Parameters of each waveform and what they are if not given.
WAVEFORMS = {
    "constant": {"watts": "300"},
    "square": {"low_w": "70", "high_w": "600", "period_s": "0.73", "duty": "0.5"},
    "steps": {"watts": "100/300/200/400", "step_s": "1"},
}
_OWN = ("workload", "domain", "seed", "phase_s", "board")
_SENSOR = tuple(f.name for f in fields(Sensor) if f.type == "float" or f.name == "wrap_at")


@dataclass(frozen=True, slots=True, eq=False)
class Live:
    """What a live simulated meter shows, and the truth behind it.

    Power is a waveform that repeats from time 0 of CLOCK_MONOTONIC on, which is the clock of
    ``Profile.begin_ns``: so ``live.energy(prof.result.begin_ns, prof.result.end_ns)`` is what a
    profile should have found.

    Attributes:
        sensor: what publishes.
        watts: (n,) power of each level.
        length_ns: (n,) how long it is held; after the last the first comes again.
        domain: whose joules they are.
        seed: of noise, jitter and missed ticks.
        phase_s: when tick 0 is.
    """

    sensor: Sensor
    watts: Floats
    length_ns: NDArray[np.int64]
    domain: str = "gpu:0"
    seed: int = 0
    phase_s: float = 0.0

    def power(self, t_ns: ArrayLike) -> Floats:
        """True watts at ``t_ns``, of any shape."""
        edges = np.cumsum(self.length_ns)
        inside = np.asarray(t_ns, dtype=np.int64) % edges[-1]
        return np.asarray(self.watts[np.searchsorted(edges, inside, side="right")])

    def energy(self, begin_ns: ArrayLike, end_ns: ArrayLike) -> Floats:
        """True joules of [begin_ns, end_ns), of any shape."""
        edges = np.concatenate([[0], np.cumsum(self.length_ns)])
        sums = np.concatenate([[0.0], np.cumsum(self.watts * self.length_ns)]) * 1e-9

        def split(t_ns: ArrayLike) -> tuple[NDArray[np.int64], Floats]:
            turns, inside = np.divmod(np.asarray(t_ns, dtype=np.int64), edges[-1])
            return turns, np.asarray(np.interp(inside, edges, sums))

        (first, early), (last, late) = split(begin_ns), split(end_ns)
        return np.asarray((last - first) * sums[-1] + late - early)

    def native(self) -> str:
        """The argument of the native meter."""
        sensor = self.sensor
        told: dict[str, object] = {
            "name": sensor.name,
            "domain": self.domain,
            "shape": sensor.shape,
            "period_ns": sensor.period_s * 1e9 * (1.0 + sensor.skew_ppm * 1e-6),
            "window_ns": sensor.window_s * 1e9,
            "delay_ns": sensor.delay_s * 1e9,
            "tau_ns": sensor.tau_s * 1e9,
            "gain": sensor.gain,
            "offset_w": sensor.offset_w,
            "noise_w": sensor.noise_w,
            "quantum": sensor.quantum,
            "jitter_ns": sensor.jitter_s * 1e9,
            "missed": sensor.missed,
            "latency_ns": sensor.latency_s * 1e9,
            "phase_ns": self.phase_s * 1e9,
            "wrap_at": sensor.wrap_at,
            "seed": self.seed,
            "stalled": sensor.stalled,
            "gain_std": 0.0 if (sensor.gain, sensor.offset_w) == (1.0, 0.0) else sensor.gain_std,
        }
        if sensor.windowed and sensor.window_s == sensor.period_s:
            told["window_ns"] = told["period_ns"]  # from tick to tick, whatever the clock's skew
        levels = zip(self.watts.tolist(), self.length_ns.tolist(), strict=True)
        told["levels"] = ",".join(f"{watts!r}:{length}" for watts, length in levels)
        return ";".join(f"{key}={value}" for key, value in told.items())


def live(source: str) -> Live:
    """What ``sources="simulate:..."`` stands for.

    ``simulate:SENSOR[,workload=WAVEFORM][,NAME=VALUE...]`` with the name of a sensor in
    ``SENSORS`` and one of these waveforms:

    * ``constant``: ``watts``
    * ``square``: ``high_w`` for ``duty`` of each ``period_s``, then ``low_w``
    * ``steps`` (the default): each of ``watts`` (as in ``100/300/200``) for ``step_s``

    Any number that a ``Sensor`` has may be changed (``noise_w=0``). ``domain`` says whose joules
    they are (``gpu:0``), ``seed`` what chance does, ``phase_s`` when ticks come;
    ``board=typical`` takes gain and offset as the sensor has them, else they are 1 and 0.

    >>> from picojoule import simulate
    >>> meter = simulate.live("simulate:nvml_energy,watts=100/300,step_s=0.5")
    >>> float(meter.energy(0, 2_500_000_000))
    450.0

    Raises:
        UsageError: something in it does not exist or cannot be.
    """
    text = source.removeprefix(PREFIX)
    first, *rest = (part.strip() for part in text.split(","))
    given: dict[str, str] = {}
    for part in rest:
        name, equals, value = part.partition("=")
        if not equals or name in given:
            raise UsageError(f"{source!r}: expected NAME=VALUE once each, got {part!r}")
        given[name] = value
    if first not in SENSORS:
        raise UsageError(f"{source!r}: no sensor {first!r}; there are: {', '.join(SENSORS)}")
    shape = given.get("workload", "steps")
    if shape not in WAVEFORMS:
        raise UsageError(f"{source!r}: no waveform {shape!r}; there are: {', '.join(WAVEFORMS)}")
    known = (*_OWN, *WAVEFORMS[shape], *(n for n in _SENSOR if n not in WAVEFORMS[shape]))
    for name in given:
        if name not in known:
            raise UsageError(
                f"{source!r}: there is no {name!r} here; there are: {', '.join(known)}"
            )
    board = given.get("board", "ideal")
    if board not in ("ideal", "typical"):
        raise UsageError(f"{source!r}: board must be ideal or typical")
    sensor = SENSORS[first]
    if board == "ideal":
        sensor = sensor.but(gain=1.0, offset_w=0.0)
    changes = {
        name: _number(source, name, value)
        for name, value in given.items()
        if name in _SENSOR and name not in WAVEFORMS[shape]
    }
    if "wrap_at" in changes:
        changes["wrap_at"] = int(changes["wrap_at"])
    watts, length_ns = _levels(source, shape, given)
    domain = given.get("domain", "gpu:0")
    if not domain or ";" in domain:
        raise UsageError(f"{source!r}: domain must be a name such as gpu:0")
    seed = _number(source, "seed", given.get("seed", "0"))
    if seed < 0 or seed != int(seed):
        raise UsageError(f"{source!r}: seed must be a whole number of at least 0")
    return Live(
        sensor=find(sensor.but(**changes)),
        watts=watts,
        length_ns=length_ns,
        domain=domain,
        seed=int(seed),
        phase_s=_number(source, "phase_s", given.get("phase_s", "0")),
    )


def _levels(source: str, shape: str, given: dict[str, str]) -> tuple[Floats, NDArray[np.int64]]:
    told = {name: given.get(name, value) for name, value in WAVEFORMS[shape].items()}
    if shape == "steps":
        watts = [_number(source, "watts", part) for part in told["watts"].split("/")]
        length = [_number(source, "step_s", told["step_s"])] * len(watts)
    elif shape == "square":
        numbers = {name: _number(source, name, value) for name, value in told.items()}
        duty = numbers["duty"]
        if not 0.0 < duty < 1.0:
            raise UsageError(f"{source!r}: duty must be between 0 and 1")
        watts = [numbers["high_w"], numbers["low_w"]]
        length = [duty * numbers["period_s"], (1.0 - duty) * numbers["period_s"]]
    else:
        watts, length = [_number(source, "watts", told["watts"])], [1.0]
    length_ns = np.rint(np.array(length) * 1e9).astype(np.int64)
    if length_ns.min() < 1 or length_ns.sum() > 10**15 or min(watts) < 0.0:
        raise UsageError(f"{source!r}: watts must not be negative, and times above 0")
    return np.array(watts, dtype=np.float64), length_ns


def _number(source: str, name: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = np.nan
    if not np.isfinite(number):
        raise UsageError(f"{source!r}: {name} must be a number, got {value!r}")
    return number
