"""What a power sensor says of when: identified from its readings, and turned into windows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from picojoule import _core
from picojoule.attribution import _classes, _floats, _times

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

Shape = Literal["boxcar", "lag", "integral"]

#: A lag is sampled at an instant: for ``pj.attribute`` a window of this share of its time constant.
_INSTANT = 1.0 / 8.0


class SensorWindows(NamedTuple):
    """Readings as ``pj.attribute`` takes them: its first three arguments and some of its options.

    Attributes:
        begin_ns: (n,) begin of the time that each reading is of.
        end_ns: (n,) its end.
        value: (n,) joules in it.
        edge_std_ns: (n,) standard deviation of where it lies.
        value_std: (n,) noise of the joules.
        lag_s: time constant of the sensor's lag; 0 without.
        shifted: whether both edges of a window err alike (gauges).
    """

    begin_ns: NDArray[np.int64]
    end_ns: NDArray[np.int64]
    value: NDArray[np.float64]
    edge_std_ns: NDArray[np.float64]
    value_std: NDArray[np.float64]
    lag_s: float
    shifted: bool

    @property
    def options(self) -> dict[str, Any]:
        """All but the first three, as keywords for ``pj.attribute``."""
        return {
            "edge_std_ns": self.edge_std_ns,
            "value_std": self.value_std,
            "lag_s": self.lag_s,
            "shifted": self.shifted,
        }


class SensorTicks(NamedTuple):
    """When a sensor published, from polls that saw its value change.

    Attributes:
        time_ns: (n,) tick times.
        std_ns: (n,) their standard deviations.
        value: (n,) watts published; of a counter, joules since the tick before (nan: not known).
    """

    time_ns: NDArray[np.int64]
    std_ns: NDArray[np.float64]
    value: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SensorModel:
    """One series of a sensor: ``reading = gain * (power, as the shape has it) + offset_w``.

    A tick at t publishes, by ``shape``, the mean power from t - delay - window to t - delay
    (``boxcar``), the power at t - delay behind a first-order lag of time constant tau (``lag``), or
    the energy since the tick before, likewise delayed (``integral``, the window being the period).

    What is not known is nan, with an infinite standard deviation.

    Attributes:
        period_s: distance of ticks.
        window_s: averaging window; 0 for a lag.
        delay_s: from the end of the window to its tick. Against a reference that has a clock of its
            own this contains the difference of the clocks, and may be negative.
        tau_s: time constant; 0 without a lag.
        shape: ``boxcar``, ``lag`` or ``integral``.
        gain: watts told for a watt; only a known power can tell it.
        offset_w: likewise.
        noise_w: standard deviation of what the model leaves of the readings.
        phase_ns: an instant at which the sensor ticked; None if no clock was found.
        ticks: how many ticks were seen.
        shape_odds: log evidence for this shape over the other one that was tried; nan: none was.
        basis: ``fitted`` where readings said something, else ``table``.
        tabled: the fields that rest on the table (or on nothing), not on these readings.
        source: where the table has it from; "" if it has nothing.
    """

    period_s: float
    window_s: float
    delay_s: float
    tau_s: float
    shape: Shape
    gain: float
    offset_w: float
    noise_w: float
    period_std_s: float
    window_std_s: float
    delay_std_s: float
    tau_std_s: float
    gain_std: float
    offset_std_w: float
    noise_std_w: float
    phase_ns: int | None = None
    phase_std_s: float = math.nan
    ticks: int = 0
    shape_odds: float = math.nan
    basis: Literal["fitted", "table"] = "table"
    tabled: tuple[str, ...] = ()
    source: str = ""

    def describe(self) -> str:
        """A few lines for people; what rests on the table says so."""

        def line(what: str, name: str, value: float, std: float, unit: str, scale: float) -> str:
            if math.isnan(value):
                return f"{what}: unknown"
            table = " (table)" if name in self.tabled else ""
            return f"{what}: {value * scale:.4g} +- {std * scale:.2g}{unit}{table}"

        lines = [
            f"{self.shape}, {self.basis}"
            + (f" from {self.ticks} ticks" if self.basis == "fitted" else ""),
            line("period", "period_s", self.period_s, self.period_std_s, " ms", 1e3),
        ]
        if self.shape == "boxcar":
            lines.append(line("window", "window_s", self.window_s, self.window_std_s, " ms", 1e3))
        if self.shape == "lag":
            lines.append(line("time constant", "tau_s", self.tau_s, self.tau_std_s, " ms", 1e3))
        lines += [
            line("delay", "delay_s", self.delay_s, self.delay_std_s, " ms", 1e3),
            line("gain", "gain", self.gain, self.gain_std, "", 1.0),
            line("offset", "offset_w", self.offset_w, self.offset_std_w, " W", 1.0),
            line("noise", "noise_w", self.noise_w, self.noise_std_w, " W", 1.0),
        ]
        if self.tabled and self.source:
            lines.append(f"table: {self.source}")
        return "\n".join(lines)


def identify_sensor(
    poll_ns: ArrayLike,
    value: ArrayLike,
    *,
    quantity: Literal["power", "energy"] = "power",
    power_ns: ArrayLike | None = None,
    power_w: ArrayLike | None = None,
    span_begin_ns: ArrayLike | None = None,
    span_end_ns: ArrayLike | None = None,
    span_class: ArrayLike | None = None,
    device: str = "",
    field: Literal["instant", "average", "memory", "energy"] | None = None,
    shape: Shape | None = None,
) -> SensorModel:
    """Identify a sensor from what it said while the power, or only what ran, was known.

    With ``power_ns`` and ``power_w`` (an external meter, a simulator) all of the model is fitted.
    With spans alone, as any program's own timeline has them, the rates of their classes are unknown
    too and fitted along; gain and offset then cannot be told from them and are the table's. Time
    outside of spans has one rate, so the spans must be all that ran while the sensor was polled,
    and classes should be of steady power.

    A polled value repeats until the sensor ticks: a tick lies after the last poll that saw the old
    value, and not after the first that saw the new one. The likelihood integrates over that
    (errors in variables), since tick times taken as exact would pull the gain towards 0. Polls must
    not be in step with the ticks: they would tell nothing of the phase, and the delay would be
    uncertain by their distance. Powers that change within the window or the lag, at no multiple of
    the period, tell most (Yang, Adamek and Armour, SC'24, arXiv 2312.02741).

    What is known of ``device`` beforehand is the prior, and the answer where the readings (fewer
    than 12 ticks, or steady power) say nothing.

    Args:
        poll_ns: (n,) when each value was read, in order.
        value: (n,) watts, or with ``quantity="energy"`` the cumulative joules of a counter.
        quantity: what is polled.
        power_ns: (m,) times of the known power, in order.
        power_w: (m,) its samples (W), each for the time nearest to it. Readings outside of them are
            not used; before the first, power is taken to have been that of the first 200.
        span_begin_ns: (k,) begins of spans.
        span_end_ns: (k,) their ends; spans may overlap, their rates then add up.
        span_class: (k,) integers 0..K-1.
        device: product name or family, for the table: ``"NVIDIA H100 80GB HBM3"``.
        field: which series; by default ``instant`` or ``energy``, by quantity.
        shape: what is known of the shape; by default boxcar and lag (of a counter: integral and
            boxcar, which is one that sums up what a duty-cycled gauge saw) are weighed against each
            other.

    Raises:
        ValueError: an argument is not what it must be; the message names it and the index.
    """
    import numpy as np

    polls = _times("poll_ns", poll_ns)
    values = _floats("value", value, len(polls), "poll_ns")
    _check_series("poll_ns", polls, "value", values)
    if quantity not in ("power", "energy"):
        raise ValueError(f"quantity must be 'power' or 'energy', got {quantity!r}")
    counter = quantity == "energy"
    if field is None:
        field = "energy" if counter else "instant"
    if field not in ("instant", "average", "memory", "energy"):
        raise ValueError(f"field must be 'instant', 'average', 'memory' or 'energy', got {field!r}")
    if counter != (field == "energy"):
        raise ValueError(f"field {field!r} is no series of quantity {quantity!r}")
    allowed = (None, "integral", "boxcar") if counter else (None, "boxcar", "lag")
    if shape not in allowed:
        raise ValueError(f"shape must be one of {allowed[1:]} for {quantity}, got {shape!r}")
    known = power_ns is not None or power_w is not None
    spans = (span_begin_ns, span_end_ns, span_class)
    if known == any(s is not None for s in spans):
        raise ValueError(
            "give either power_ns and power_w, or spans: one reference, not two or none"
        )
    power_at, power = np.empty(0, dtype=np.int64), np.empty(0)
    begins, ends, classes = power_at, power_at, np.empty(0, dtype=np.int32)
    if known:
        if power_ns is None or power_w is None:
            raise ValueError("power_ns and power_w must be given together")
        power_at = _times("power_ns", power_ns)
        power = _floats("power_w", power_w, len(power_at), "power_ns")
        _check_series("power_ns", power_at, "power_w", power)
    else:
        if span_begin_ns is None or span_end_ns is None or span_class is None:
            raise ValueError("span_begin_ns, span_end_ns and span_class must be given together")
        begins, ends, classes = _spans(span_begin_ns, span_end_ns, span_class)
        if not len(begins):
            raise ValueError("span_begin_ns: no spans, so nothing is known of the power")
    found = _core.identify_sensor(
        polls,
        values,
        counter,
        power_at,
        power,
        begins,
        ends,
        classes,
        int(classes.max()) + 1 if len(classes) else 0,
        device,
        field,
        shape or "",
    )
    return _model(found, known)


def known_sensor(device: str, field: str = "instant") -> SensorModel | None:
    """What the table says of a device's sensor, or None: the prior of ``identify_sensor``.

    Args:
        device: product name (``"NVIDIA A100-SXM4-80GB"``) or family (``"nvidia gh100"``).
        field: ``instant``, ``average``, ``memory`` or ``energy``.
    """
    prior = _core.sensor_prior(device, field)
    if prior is None:
        return None
    pairs = {name: prior[name] for name in ("period_s", "window_s", "tau_s", "gain", "offset_w")}
    lag = prior["shape"] == "lag"
    pairs["window_s" if lag else "tau_s"] = (0.0, 0.0)
    found = {name: (*pair, False) for name, pair in pairs.items()}
    found["delay_s"] = (0.0, 0.5 * pairs["period_s"][0], False)
    rest = {"fitted": False, "ticks": 0, "phase_ns": None, "phase_std_s": math.nan}
    noise = {"noise_w": prior["noise_w"], "shape_odds": math.nan}
    return _model({**found, **rest, **noise, "shape": prior["shape"], "prior": prior}, False)


def find_ticks(
    poll_ns: ArrayLike,
    value: ArrayLike,
    *,
    quantity: Literal["power", "energy"] = "power",
    period_s: float = math.nan,
) -> SensorTicks:
    """When a polled sensor ticked: its clock, fitted to the brackets of all changes.

    Args:
        poll_ns: (n,) when each value was read, in order.
        value: (n,) watts, or cumulative joules.
        quantity: what is polled.
        period_s: the period, if it is known to a few percent.

    Raises:
        ValueError: an argument is not what it must be; the message names it and the index.
    """
    polls = _times("poll_ns", poll_ns)
    values = _floats("value", value, len(polls), "poll_ns")
    _check_series("poll_ns", polls, "value", values)
    if not (math.isnan(period_s) or 0.0 < period_s < math.inf):
        raise ValueError(f"period_s must be a finite number > 0, or nan, got {period_s!r}")
    return SensorTicks(*_core.sensor_ticks(polls, values, quantity == "energy", float(period_s)))


def sensor_windows(
    model: SensorModel,
    tick_ns: ArrayLike,
    value: ArrayLike,
    tick_std_ns: ArrayLike = 0.0,
) -> SensorWindows:
    """The times that readings are of, and the joules in them, ready for ``pj.attribute``.

    Gain and offset are taken out where they were fitted; a table's are those of the average board,
    not of this one, and stay in. The doubt of the ticks and of the delay becomes that of the edges.
    A lag's readings are of an instant: their windows are short ones around it, their edges' doubt
    is in ``value_std`` (both edges err alike), and ``lag_s`` tells ``pj.attribute`` the rest. As
    windows of a gauge do not cover all time, give ``pj.attribute`` a ``total`` where one is known.

    Args:
        model: of the series.
        tick_ns: (n,) when each value was published, in order (``find_ticks``).
        value: (n,) watts; for the shape ``integral``, joules since the tick before.
        tick_std_ns: standard deviation of tick times; scalar or (n,).

    Raises:
        ValueError: an argument is not what it must be; the message names it and the index. Of the
            sensor's window, lag or delay nothing is known.
    """
    import numpy as np

    ticks = _times("tick_ns", tick_ns)
    given = _floats("value", value, len(ticks), "tick_ns")
    std = np.broadcast_to(np.asarray(tick_std_ns, dtype=np.float64), ticks.shape)
    if not (np.isfinite(std) & (std >= 0.0)).all():
        raise ValueError("tick_std_ns must be finite numbers >= 0")
    late = np.flatnonzero(np.diff(ticks) <= 0)
    if len(late):
        i = int(late[0]) + 1
        raise ValueError(f"tick_ns[{i}] is not after tick_ns[{i - 1}]")
    needed = {"boxcar": "window_s", "lag": "tau_s", "integral": "period_s"}[model.shape]
    for name in (needed, "delay_s"):
        if math.isnan(getattr(model, name)):
            raise ValueError(f"model: {name} of this sensor is not known")
    gain = model.gain if "gain" not in model.tabled and model.gain > 0.0 else 1.0
    offset = model.offset_w if "offset_w" not in model.tabled else 0.0
    noise = model.noise_w / gain if math.isfinite(model.noise_w) else 0.0
    ends = ticks - round(model.delay_s * 1e9)
    edge: NDArray[np.float64] = np.hypot(std, model.delay_std_s * 1e9)
    if model.shape == "integral":
        length = np.diff(ends, prepend=ends[:1]) * 1e-9
        keep = np.isfinite(given) & (length > 0.0)
        begins = np.concatenate([ends[:1], ends[:-1]])
        joules = (given - offset * length) / gain
        return SensorWindows(
            begins[keep], ends[keep], joules[keep], edge[keep], (noise * length)[keep], 0.0, False
        )
    keep = np.isfinite(given)
    ends, edge = ends[keep], edge[keep]
    watts: NDArray[np.float64] = (given[keep] - offset) / gain
    noises: NDArray[np.float64] = np.full(len(ends), noise)
    lag = 0.0
    if model.shape == "lag":
        lag = model.tau_s
        half = max(1, round(0.5 * _INSTANT * lag * 1e9))
        begins, ends = ends - half, ends + half
        # An instant that is off sees another state of the lag; how much that differs, at worst on
        # average, the readings' own spread says.
        swing = float(np.std(watts)) if len(watts) else 0.0
        blur = np.minimum(edge * 1e-9 / lag, 1.0) * swing
        edge = np.ones(len(ends))
        noises[:] = np.hypot(noises, blur)
    else:
        begins = ends - round(model.window_s * 1e9)
    seconds = (ends - begins).astype(np.float64) * 1e-9
    return SensorWindows(begins, ends, watts * seconds, edge, noises * seconds, lag, True)


def _check_series(
    times: str, at: NDArray[np.int64], values: str, given: NDArray[np.float64]
) -> None:
    import numpy as np

    if not len(at):
        raise ValueError(f"{times} is empty")
    late = np.flatnonzero(np.diff(at) < 0)
    if len(late):
        i = int(late[0]) + 1
        raise ValueError(f"{times}[{i}] is before {times}[{i - 1}]: {at[i]} < {at[i - 1]}")
    wrong = np.flatnonzero(~np.isfinite(given))
    if len(wrong):
        raise ValueError(f"{values}[{int(wrong[0])}] is not a finite number")


def _spans(
    begin: ArrayLike, end: ArrayLike, cls: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
    import numpy as np

    begins = _times("span_begin_ns", begin)
    ends = _times("span_end_ns", end, len(begins), "span_begin_ns")
    wrong = np.flatnonzero(ends < begins)
    if len(wrong):
        i = int(wrong[0])
        raise ValueError(f"span_end_ns[{i}] is before span_begin_ns[{i}]: {ends[i]} < {begins[i]}")
    return begins, ends, _classes(cls, len(begins))


def _model(found: dict[str, Any], power_known: bool) -> SensorModel:
    prior = found["prior"]
    period, period_std, clocked = found["period_s"]
    if not clocked and prior is not None:
        period, period_std = prior["period_s"]
    if not period > 0.0:
        period, period_std = math.nan, math.inf
    fields: dict[str, float] = {}
    tabled = [] if clocked else ["period_s"]
    for name, unit in (("window", "_s"), ("delay", "_s"), ("tau", "_s"), ("gain", ""),
                       ("offset", "_w")):  # fmt: skip
        value, std, from_data = found[name + unit]
        fields[name + unit] = value
        fields[f"{name}_std{unit}"] = math.inf if math.isnan(value) else std
        if not from_data:
            tabled.append(name + unit)
    noise, ticks = found["noise_w"], found["ticks"]
    fitted = bool(found["fitted"])
    if not fitted:
        tabled.append("noise_w")
    return SensorModel(
        period_s=period,
        period_std_s=math.inf if math.isnan(period_std) else period_std,
        shape=found["shape"],
        noise_w=noise,
        noise_std_w=noise / math.sqrt(2.0 * ticks) if fitted else math.inf,
        phase_ns=found["phase_ns"],
        phase_std_s=found["phase_std_s"],
        ticks=ticks,
        shape_odds=found["shape_odds"],
        basis="fitted" if fitted else "table",
        tabled=tuple(tabled),
        source="" if prior is None else prior["source"],
        **fields,
    )
