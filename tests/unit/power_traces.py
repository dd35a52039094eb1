"""Real boards: what NVML said, beside an external shunt meter (tests/data/power_traces)."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

FOLDER = Path(__file__).parents[1] / "data" / "power_traces"


class Trace(NamedTuple):
    poll_ns: np.ndarray
    said_w: dict
    true_ns: np.ndarray
    true_w: np.ndarray
    load_ns: np.ndarray  # where the load went on and off in turn


def load(name):
    with np.load(FOLDER / f"{name}.npz") as z:
        said = {k[:-3]: z[k] / 100.0 for k in z.files if k.endswith("_cw") and k != "truth_cw"}
        metered = "truth_us" in z.files
        at = np.cumsum(z["truth_us"].astype("i8")) * 1000 if metered else np.empty(0, "i8")
        watts = z["truth_cw"] / 100.0 if metered else np.empty(0)
        poll = z["poll_us"].astype("i8") * 1000
        return Trace(poll, said, at, watts, z["load_us"].astype("i8") * 1000)


def phases(trace, threshold_w, smooth=31):
    """(begin, end, class) of stretches with power below (0) and above (1) the threshold."""
    even = np.convolve(trace.true_w, np.ones(smooth) / smooth, "same")
    high = even > threshold_w
    change = np.flatnonzero(np.diff(high.astype(int))) + 1
    edges = np.r_[trace.true_ns[0], trace.true_ns[change], trace.true_ns[-1]]
    return edges[:-1], edges[1:], high[np.r_[0, change]].astype("i4")
