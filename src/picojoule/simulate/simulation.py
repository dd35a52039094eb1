"""The result of a simulation, and how it is made."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from picojoule.errors import UsageError
from picojoule.simulate.faults import Faults
from picojoule.simulate.load import Load, Truth, Work
from picojoule.simulate.polling import LOCKED, Poll, brackets
from picojoule.simulate.sensing import Ticks, ticks
from picojoule.simulate.sensors import Sensor, find
from picojoule.simulate.windows import windows
from picojoule.simulate.workloads import WORKLOADS

if TYPE_CHECKING:
    import os

    from numpy.typing import ArrayLike, NDArray

    from picojoule import _core
    from picojoule.simulate.curve import Curve

    Floats = NDArray[np.float64]

#: The machine idles so long before and after: lookback of traces, first window of slow averages.
LEAD_S = 3.0
#: Of clocks: how often they are looked at, their mean, and in what steps they are told.
_CLOCK_NS = 100_000_000
_CLOCK_HZ, _CLOCK_STEP_HZ = 1.755e9, 15e6
_EDGES = {"exact": 0.0, "locked": LOCKED, "poll": Poll()}
_BOARDS = ("ideal", "typical", "drawn")


@dataclass(frozen=True, eq=False)
class Simulation:
    """Readings of a sensor, spans, and the exact truth. Times are ns since the begin.

    Attributes:
        begin_ns: (n,) i8, begin of each reading's window as the reader knows it.
        end_ns: (n,) i8, its end.
        value: (n,) f8, joules in the window.
        edge_std_ns: (n,) f8, how well the reader knows the end of the window.
        value_std: (n,) f8, noise of ``value``.
        contiguous: whether windows share their edges, as for ``pj.attribute``.
        lag_s: first-order lag between power and readings that the reader knows of.
        span_begin_ns: (m,) i8, as the clock of the spans says.
        span_end_ns: (m,) i8.
        span_class: (m,) i4, 0..K-1.
        span_stream: (m,) i4.
        sensor: what published, with the gain and offset that it really has.
        assumed: what the reader takes it for.
        work: true spans and powers.
        load: true power.
        board: what of it arrives at the sensor, after the board's own lag.
        ticks: what was published, and when.
        old_ns: (ticks,) when the value before was last seen.
        new_ns: (ticks,) when each value was first seen.
        duration_ns: readings and spans lie in [0, duration_ns).
        prior_bias: by what factor ``priors`` are off in common.
        seed: as given.
    """

    begin_ns: NDArray[np.int64]
    end_ns: NDArray[np.int64]
    value: Floats
    edge_std_ns: Floats
    value_std: Floats
    contiguous: bool | None
    lag_s: float
    span_begin_ns: NDArray[np.int64]
    span_end_ns: NDArray[np.int64]
    sensor: Sensor
    assumed: Sensor
    work: Work
    load: Load
    board: Curve
    ticks: Ticks
    old_ns: Floats
    new_ns: Floats
    duration_ns: int
    prior_bias: float
    seed: int

    @property
    def span_class(self) -> NDArray[np.int32]:
        """(m,) i4, 0..K-1."""
        return self.work.span_class

    @property
    def span_stream(self) -> NDArray[np.int32]:
        """(m,) i4; spans of one stream do not overlap."""
        return self.work.stream

    @property
    def n_classes(self) -> int:
        """How many classes there are, K."""
        return len(self.work.watts)

    @cached_property
    def truth(self) -> Truth:
        """The truth of the interval from the first to the last reading.

        That is the interval which ``pj.attribute`` accounts for.
        """
        if not len(self.begin_ns):
            return self.truth_between(0, 0)
        return self.truth_between(int(self.begin_ns.min()), int(self.end_ns.max()))

    @property
    def gain_std(self) -> float:
        """Relative uncertainty of the sensor's scale: 0 on an ideal board."""
        exact = (self.sensor.gain, self.sensor.offset_w) == (1.0, 0.0)
        return 0.0 if exact else self.sensor.gain_std

    def truth_between(self, begin_ns: int, end_ns: int) -> Truth:
        """The truth of any interval."""
        return self.load.truth(begin_ns, end_ns)

    def power(self, t_ns: ArrayLike) -> Floats:
        """True watts at ``t_ns``, of any shape."""
        return self.load.power.power(t_ns)

    def energy(self, begin_ns: ArrayLike, end_ns: ArrayLike) -> Floats:
        """True joules of [begin_ns, end_ns), of any shape."""
        return self.load.power.energy(begin_ns, end_ns)

    @cached_property
    def clock(self) -> tuple[NDArray[np.int64], Floats] | None:
        """(t_ns, Hz) of the board's clock as a reader sees it every 0.1 s; None if it is steady."""
        drift = self.work.drift
        if not drift.clocks and not np.isfinite(drift.cap_w):
            return None
        t_ns = np.arange(0, self.duration_ns, _CLOCK_NS, dtype=np.int64)
        hertz = _CLOCK_STEP_HZ * np.rint(
            _CLOCK_HZ / _CLOCK_STEP_HZ * self.load.clock(t_ns.astype(np.float64))
        )
        return t_ns, hertz

    def arguments(self) -> dict[str, Any]:
        """All that ``pj.attribute`` takes, priors apart."""
        return {
            "drift": [self.clock] if self.clock is not None else [],
            "begin_ns": self.begin_ns,
            "end_ns": self.end_ns,
            "value": self.value,
            "span_begin_ns": self.span_begin_ns,
            "span_end_ns": self.span_end_ns,
            "span_class": self.span_class,
            "n_classes": self.n_classes,
            "edge_std_ns": self.edge_std_ns,
            "value_std": self.value_std,
            "contiguous": self.contiguous,
            "lag_s": self.lag_s,
        }

    def priors(self, cv: float = 0.25, *, told_cv: float | None = None) -> dict[str, Any]:
        """Expected rates that are off by chance, for ``pj.attribute(**..., **sim.priors())``.

        Args:
            cv: relative error (log-normal) of each class, by itself; the same for the same seed.
            told_cv: ``prior_cv`` to tell; by default ``cv``.
        """
        rng = np.random.default_rng([self.seed, 4])
        rate = self.work.watts * self.prior_bias * np.exp(rng.normal(0.0, cv, self.n_classes))
        return {"prior_rate": rate, "prior_cv": cv if told_cv is None else told_cv}

    def trace(self) -> _core.Trace:
        """The same as a recorded trace: ticks of the meter, kernels of the spans."""
        from picojoule.simulate.trace import to_trace

        return to_trace(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write ``trace()`` to the new folder ``path``, which ``pj.load`` reads.

        Raises:
            OSError: it exists already, or cannot be written.
        """
        from picojoule import _trace

        _trace.save(path, self.trace())

    def __repr__(self) -> str:
        return (
            f"<Simulation: {len(self.value)} readings of {self.sensor.name}, "
            f"{len(self.span_class)} spans of {self.n_classes} classes, "
            f"{self.duration_ns * 1e-9:.6g} s, {self.truth.total:.6g} J>"
        )


def run(
    workload: str | Work = "layered",
    sensor: str | Sensor = "gh100_instant",
    *,
    duration_s: float = 60.0,
    seed: int = 0,
    edges: str | float | Poll = "exact",
    board: str = "ideal",
    rise_s: float = 0.0,
    slow_share: float = 0.0,
    slow_s: float = 0.15,
    phase_s: float | None = None,
    faults: Faults | None = None,
    assumed: str | Sensor | None = None,
    **parameters: Any,
) -> Simulation:
    """Simulate a workload seen by a sensor. The same arguments give the same bytes.

    Args:
        workload: a name in ``WORKLOADS``, or spans of your own.
        sensor: a name in ``SENSORS``, or one of your own.
        duration_s: how long it runs.
        seed: of all chance. Work, sensor and reader draw from streams of their own: another
            ``edges`` leaves the work as it was.
        edges: how well the reader knows when ticks were. ``"exact"``; a normal error's standard
            deviation in seconds; a ``Poll``, or ``"poll"`` (looks every 0.97 ms, dithered) or
            ``"locked"`` (looks where ticks are due).
        board: ``"ideal"``: gain 1 and offset 0, as if calibrated; ``"typical"``: those of the
            sensor; ``"drawn"``: drawn from what the sensor says of many boards.
        rise_s: time constant of the board's power supply before the sensor (0.3 ms on an A100).
            ``lag_s`` tells the reader of it.
        slow_share: share of power that arrives at the sensor with time constant ``slow_s`` instead
            (as on an RTX 3090 or 4090). The reader does not know of it.
        slow_s: see there.
        phase_s: when the first tick after 0 is; None: by chance.
        faults: what goes wrong; None: what the workload brings.
        assumed: what the reader takes the sensor for; None: what it is.
        **parameters: of the workload: see ``WORKLOADS[name].help``.

    Raises:
        UsageError: something that does not exist or cannot be.
    """
    if not 0.0 < duration_s < 1e6:
        raise UsageError(f"duration_s must be above 0 and below a million, got {duration_s!r}")
    real = find(sensor)
    rngs = [np.random.default_rng([seed, i]) for i in range(4)]
    bias = 1.0
    if isinstance(workload, Work):
        if parameters:
            raise UsageError(f"spans of your own take no parameters: {', '.join(parameters)}")
        work, wrong = workload, None
    else:
        if workload not in WORKLOADS:
            raise UsageError(
                f"there is no workload {workload!r}; there are: {', '.join(WORKLOADS)}"
            )
        plan = WORKLOADS[workload].make(rngs[0], duration_s, real, parameters)
        work, bias, wrong = plan.work, plan.prior_bias, plan.assumed
        faults = faults or plan.faults
    faults = faults or Faults()
    believed = find(assumed) if assumed is not None else wrong or real
    real = _on_board(real, board, rngs[1])
    real = real.but(
        missed=1.0 - (1.0 - real.missed) * (1.0 - faults.missed),
        stalled=1.0 - (1.0 - real.stalled) * (1.0 - faults.stalled),
    )
    duration_ns = round(duration_s * 1e9)
    # The same for all usual sensors, so that truth is, to the last bit.
    lead = (LEAD_S + max(2.0, real.window_s + real.delay_s)) * 1e9
    load = Load(work, -lead, duration_ns + lead)
    arrives = _board_of(load.power, rise_s, slow_share, slow_s)
    shown = ticks(
        real, arrives, -LEAD_S * 1e9, duration_ns + 0.5 * LEAD_S * 1e9, rngs[1],
        phase_s=phase_s, resets_ns=tuple(t * 1e9 for t in faults.resets_s),
    )  # fmt: skip
    how = _edges(edges)
    guess, std, old, new = brackets(how, real, shown.seen_ns, shown.due_ns, rngs[2])
    found = windows(
        believed, real.quantum, real.counter, shown, guess, std, 0.0, float(duration_ns)
    )
    return Simulation(
        begin_ns=found.begin_ns,
        end_ns=found.end_ns,
        value=found.value,
        edge_std_ns=found.edge_std_ns,
        value_std=found.value_std,
        contiguous=found.contiguous,
        lag_s=rise_s + (believed.tau_s if believed.shape == "lag" else 0.0),
        span_begin_ns=faults.seen(work.begin_ns),
        span_end_ns=faults.seen(work.end_ns),
        sensor=real,
        assumed=believed,
        work=work,
        load=load,
        board=arrives,
        ticks=shown,
        old_ns=old,
        new_ns=new,
        duration_ns=duration_ns,
        prior_bias=bias,
        seed=seed,
    )


def _edges(edges: str | float | Poll) -> float | Poll:
    if isinstance(edges, Poll):
        return edges
    if isinstance(edges, str):
        if edges not in _EDGES:
            raise UsageError(f"edges must be one of {', '.join(_EDGES)}, a Poll or seconds")
        found = _EDGES[edges]
        assert isinstance(found, float | Poll)
        return found
    if not 0.0 <= edges < 10.0:
        raise UsageError(f"edges must be a standard deviation in seconds, got {edges!r}")
    return float(edges)


def _on_board(sensor: Sensor, board: str, rng: np.random.Generator) -> Sensor:
    if board not in _BOARDS:
        raise UsageError(f"board must be one of {', '.join(_BOARDS)}, got {board!r}")
    scale, shift = rng.normal(0.0, 1.0, 2)  # always, so that ticks are the same for any board
    if board == "ideal":
        return sensor.but(gain=1.0, offset_w=0.0)
    if board == "typical":
        return sensor
    return sensor.but(
        gain=sensor.gain + scale * sensor.gain_std,
        offset_w=sensor.offset_w + shift * sensor.offset_std_w,
    )


def _board_of(power: Curve, rise_s: float, slow_share: float, slow_s: float) -> Curve:
    if not 0.0 <= slow_share <= 1.0:
        raise UsageError(f"slow_share must be between 0 and 1, got {slow_share!r}")
    fast = power.lagged(rise_s)
    if slow_share == 0.0:
        return fast
    return fast.scaled(1.0 - slow_share).plus(power.lagged(slow_s).scaled(slow_share))
