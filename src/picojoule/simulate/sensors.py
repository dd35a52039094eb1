"""The sensors that can be simulated: what each tells of the power that flows, and when."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

from picojoule.errors import UsageError

Shape = Literal["boxcar", "lag", "integral", "sampled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensor:
    """A meter that publishes at instants of its own (ticks) and holds its value between them.

    At tick t it looks at the board's power P:

    * ``boxcar``: the mean of P over ``[t - delay_s - window_s, t - delay_s]``. Where the window is
      the period, that reaches from the previous tick to this one.
    * ``lag``: the answer at ``t - delay_s`` of a first-order lag with time constant ``tau_s``.
    * ``integral``: a counter of all joules up to ``t - delay_s``.
    * ``sampled``: a counter that adds a boxcar's watts times ``period_s`` at each tick, so it knows
      of the power inside its windows only.

    What it shows is ``gain * that + offset_w + noise``, in whole steps of ``quantum``.

    Attributes:
        name: what to call it.
        help: what it stands for, and where its numbers come from.
        period_s: from tick to tick.
        window_s: length of the boxcar; 0 where the shape has none, nan: must be given.
        delay_s: how long before its tick a window ends.
        shape: see above.
        tau_s: time constant of a lag.
        gain: of a typical board.
        gain_std: spread from board to board.
        offset_w: of a typical board.
        offset_std_w: spread from board to board.
        noise_w: standard deviation of one reading; of an ``integral`` there is none.
        quantum: step of what is shown: W, or J of a counter.
        jitter_s: standard deviation of a tick's time, each tick by itself.
        missed: share of ticks at which nothing is published: the old value stands once more.
        latency_s: a value is seen up to so long after its tick (uniform).
        skew_ppm: how far its clock is off.
        wrap_at: modulus of a counter's register, in steps; 0: it never wraps.
        stalled: share of looks at it that take long.
        stall_s: how long, at least and at most.
    """

    name: str
    help: str = ""
    period_s: float = 0.1
    window_s: float = 0.0
    delay_s: float = 0.0
    shape: Shape = "boxcar"
    tau_s: float = 0.0
    gain: float = 1.0
    gain_std: float = 0.05
    offset_w: float = 0.0
    offset_std_w: float = 0.0
    noise_w: float = 0.0
    quantum: float = 1e-3
    jitter_s: float = 0.0
    missed: float = 0.0
    latency_s: float = 0.0
    skew_ppm: float = 0.0
    wrap_at: int = 0
    stalled: float = 0.0
    stall_s: tuple[float, float] = (1e-3, 5e-3)

    def __post_init__(self) -> None:
        if self.shape not in ("boxcar", "lag", "integral", "sampled"):
            raise UsageError(f"{self.name}: shape must be boxcar, lag, integral or sampled")
        if not (self.period_s > 0.0 and math.isfinite(self.period_s)):
            raise UsageError(f"{self.name}: period_s must be above 0, got {self.period_s!r}")
        if self.windowed and not (self.window_s > 0.0 or math.isnan(self.window_s)):
            raise UsageError(f"{self.name}: window_s must be above 0, got {self.window_s!r}")
        if self.shape == "lag" and not self.tau_s > 0.0:
            raise UsageError(f"{self.name}: tau_s must be above 0, got {self.tau_s!r}")
        if not self.quantum > 0.0:
            raise UsageError(f"{self.name}: quantum must be above 0, got {self.quantum!r}")
        for field in ("missed", "stalled"):
            if not 0.0 <= getattr(self, field) < 1.0:
                raise UsageError(f"{self.name}: {field} must be in [0, 1)")

    @property
    def counter(self) -> bool:
        """Whether it shows joules counted up, not watts."""
        return self.shape in ("integral", "sampled")

    @property
    def windowed(self) -> bool:
        """Whether it looks at a window of its own before each tick."""
        return self.shape in ("boxcar", "sampled")

    @property
    def duty(self) -> float:
        """The share of time that it sees; nan if its window is not known."""
        if not self.windowed or self.window_s >= self.period_s:
            return 1.0
        return self.window_s / self.period_s

    def but(self, **changes: Any) -> Sensor:
        """The same with other numbers: ``SENSORS["blackwell"].but(window_s=0.025)``."""
        return replace(self, **changes)


# Windows, periods and shapes of NVIDIA boards: Z. Yang, K. Adamek, W. Armour, "Accurate and
# Convenient Energy Measurements for GPUs", SC'24 (arXiv:2312.02741) and its published data, of
# which the figures marked "refitted" are our own fits. Noise: what was left of those fits.
_YANG = "SC'24, arXiv:2312.02741"
_REFIT = f"refitted from the data of {_YANG}"
_NVML: dict[str, Any] = {"noise_w": 0.4, "quantum": 1e-3, "gain_std": 0.036, "offset_std_w": 7.4}

_ALL = (
    Sensor(
        name="gh100_instant", period_s=0.1, window_s=0.0226, gain=0.991, offset_w=-1.7, **_NVML,
        help=f"NVIDIA H100, power now (field 186): a quarter of the time is seen; {_REFIT}",
    ),
    Sensor(
        name="gh100_average", period_s=0.1, window_s=1.0, gain=0.991, offset_w=-1.7, **_NVML,
        help=f"NVIDIA H100, nvmlDeviceGetPowerUsage of drivers from 530 on; {_YANG}",
    ),
    Sensor(
        name="gh200_gpu", period_s=0.1, window_s=0.020, gain=0.991, offset_w=-1.7, **_NVML,
        help=f"NVIDIA GH200, the GPU's power; gain as of the H100 (assumed); {_YANG}",
    ),
    Sensor(
        name="gh200_cpu", period_s=0.1, window_s=0.010, gain=0.991, offset_w=-1.7, **_NVML,
        help=f"NVIDIA GH200, the CPU's power; gain as of the H100 (assumed); {_YANG}",
    ),
    Sensor(
        name="ga100", period_s=0.1012, window_s=0.0245, gain=0.954, offset_w=-1.2, **_NVML,
        help=f"NVIDIA A100, all power fields; {_REFIT}",
    ),
    Sensor(
        name="ga10x_ad10x_instant", period_s=0.1, window_s=0.1, gain=0.97, offset_w=-7.0, **_NVML,
        help=f"NVIDIA RTX 30 and 40, A5000, L40, power now: seen without gaps; {_REFIT}",
    ),
    Sensor(
        name="ga10x_ad10x_average", period_s=0.1, window_s=1.05, gain=0.963, offset_w=-5.0, **_NVML,
        help=f"the same boards, the default field; {_REFIT}",
    ),
    Sensor(
        name="turing", period_s=0.1, window_s=0.1, gain=0.966, offset_w=-6.0, **_NVML,
        help=f"NVIDIA RTX 2080 Ti, Titan RTX (a Quadro RTX 8000 has window_s=0.02); {_REFIT}",
    ),
    Sensor(
        name="volta_pascal", period_s=0.02, window_s=0.0106, gain=1.02, **_NVML,
        help=f"NVIDIA V100, P100, GTX 10; {_REFIT}",
    ),
    Sensor(
        name="maxwell_m40", period_s=0.031, window_s=0.0145, gain=0.972, offset_w=1.3, **_NVML,
        help=f"NVIDIA M40; {_REFIT}",
    ),
    Sensor(
        name="kepler_k40", period_s=0.015, shape="lag", tau_s=0.041, gain=1.02, offset_w=0.8,
        **_NVML, help=f"NVIDIA K40m: a first-order lag; {_REFIT}",
    ),
    Sensor(
        name="kepler_k80", period_s=0.1, shape="lag", tau_s=0.220, gain=0.96, offset_w=-6.0,
        **_NVML, help=f"NVIDIA K80: a first-order lag; {_REFIT}",
    ),
    Sensor(
        name="maxwell_gm", period_s=0.1, shape="lag", tau_s=0.156, gain=1.01, offset_w=1.3,
        **_NVML, help=f"NVIDIA Titan X (Maxwell): a first-order lag; {_REFIT}",
    ),
    Sensor(
        name="blackwell", period_s=0.1, window_s=math.nan, **_NVML,
        help="NVIDIA B200: the driver's least period; its window is not known, so give window_s",
    ),
    Sensor(
        name="mi300_energy", period_s=1e-3, shape="integral", quantum=15.3e-6,
        help="AMD MI250X, MI300A energy counter; arXiv:2604.06056; its step is an assumption",
    ),
    Sensor(
        name="mi300_power", period_s=1e-3, window_s=math.nan, noise_w=0.4, quantum=1e-6,
        help="the same boards, power: a moving average of unknown length, so give window_s; "
        "arXiv:2604.06056",
    ),
    Sensor(
        name="nvml_energy", period_s=0.1, shape="integral", quantum=1e-3,
        help="nvmlDeviceGetTotalEnergyConsumption if it integrates all power (not published)",
    ),
    Sensor(
        name="nvml_energy_sampled", period_s=0.1, window_s=0.0226, shape="sampled", noise_w=0.4,
        quantum=1e-3,
        help="the same if it adds up the power of an H100's windows instead (not published)",
    ),
    Sensor(
        name="rapl", period_s=1e-3, shape="integral", quantum=61e-6, wrap_at=2**32, jitter_s=2e-5,
        help="Intel and AMD CPUs: 61 uJ steps, 32 bits, about 1 ms; usual values, jitter assumed",
    ),
)  # fmt: skip

#: All known sensors by name; ``SENSORS["gh100_instant"].help`` says where its numbers come from.
SENSORS: Mapping[str, Sensor] = MappingProxyType({sensor.name: sensor for sensor in _ALL})


def find(sensor: str | Sensor) -> Sensor:
    """The sensor of that name, or itself; complete.

    Raises:
        UsageError: there is none, or its window must be given.
    """
    if isinstance(sensor, str):
        if sensor not in SENSORS:
            raise UsageError(f"there is no sensor {sensor!r}; there are: {', '.join(SENSORS)}")
        sensor = SENSORS[sensor]
    if not isinstance(sensor, Sensor):
        raise UsageError(f"sensor must be a name or a Sensor, not {sensor!r}")
    if sensor.windowed and math.isnan(sensor.window_s):
        raise UsageError(
            f"the window of {sensor.name} is not known: give one, as in "
            f"SENSORS[{sensor.name!r}].but(window_s=0.025)"
        )
    return sensor
