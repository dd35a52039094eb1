"""Traces with exact truth: a power wave, a sensor that ticks, the brackets a sampler sees."""

from __future__ import annotations

import numpy as np

from picojoule import _core

S = 1_000_000_000


def square(t, lo=70.0, hi=600.0, period=0.13):
    """Joules from 0 to ``t`` seconds of a square wave."""
    n = np.floor(t / period)
    r = t - n * period
    half = period / 2
    return n * half * (lo + hi) + np.where(r < half, hi * r, hi * half + lo * (r - half))


def constant(t, watts=300.0):
    return watts * np.asarray(t)


def channel(**changes):
    base = {
        "meter": "nvml",
        "domain": "gpu:0",
        "field": "energy",
        "device": "synthetic",
        "note": "",
        "quantity": "energy",
        "provenance": "measured",
        "in_total": True,
        "latched": True,
        "update_period_ns": 0,
        "window_ns": 0,
        "unit": 1e-3,
        "wrap_at": 0,
        "gain_std": 0.05,
    }
    return {**base, **changes}


def ticks(
    wave, begin_s, end_s, *, period=0.1, phase=0.013, jitter=0.0, bracket=1e-4, rng=None,
    lookback=1.0, index=0, unit=1e-3, value=None,
):  # fmt: skip
    """Tick records from ``lookback`` before ``begin_s`` to the first that closes ``end_s``."""
    rng = rng or np.random.default_rng(0)
    k = np.arange(
        int(np.floor((begin_s - lookback - phase) / period)),
        int(np.ceil((end_s - phase) / period)) + 3,
    )
    at = phase + k * period + rng.normal(0, jitter, len(k)) if jitter else phase + k * period
    old = at - rng.uniform(0, bracket, len(k))
    new = old + bracket
    last = int(np.argmax(old > end_s))
    at, old, new = at[: last + 1], old[: last + 1], new[: last + 1]
    counts = np.floor(wave(at) / unit) if value is None else value(at) / unit
    rows = np.zeros(len(at), dtype=_core.record_dtype())
    rows["kind"] = 1
    rows["a"], rows["b"] = np.rint(new * S), np.rint(old * S)
    rows["c"] = (counts - (counts[0] if value is None else 0)).astype("u8")
    rows["id"] = index
    return rows


def cells(*entries):
    """(snapshot_ns, path, open_ns, enters, exits[, open]) records."""
    rows = np.zeros(len(entries), dtype=_core.record_dtype())
    for row, (at, path, open_ns, enters, exits, *rest) in zip(rows, entries, strict=True):
        row["kind"] = 2
        row["a"], row["b"], row["d"] = at, open_ns, path
        row["c"] = (enters << 32) | exits
        row["id"] = rest[0] if rest else 1
    return rows


def kernels(*entries):
    """Kernel records from (begin_s, end_s, path, kernel class[, track[, flags]])."""
    rows = np.zeros(len(entries), dtype=_core.record_dtype())
    for row, (begin, end, path, what, *rest) in zip(rows, entries, strict=True):
        row["kind"] = 7
        row["a"], row["b"] = round(begin * S), round(end * S)
        row["c"], row["d"] = path, what
        row["id"] = rest[0] if rest else 0
        row["flags"] = rest[1] if len(rest) > 1 else 0
    return rows


def kernel_class(name="gemm", kind="kernel", grid=(8, 1, 1), block=(128, 1, 1), size=0):
    return {
        "kind": kind,
        "name": name,
        "grid": grid,
        "block": block,
        "static_shared": 0,
        "dynamic_shared": 0,
        "bytes": size,
    }


def track(domain="gpu:0", stream=7):
    return {"domain": domain, "device": "synthetic board", "context": 1, "stream": stream}


def trace(
    begin_s, end_s, ticks_, *, channels=None, cells_=(), paths=(), gaps=(), name="", **devices
):
    empty = np.zeros(0, dtype=_core.record_dtype())
    out = _core.Trace(
        name=name,
        begin_ns=round(begin_s * S),
        end_ns=round(end_s * S),
        begin_wall_ns=0,
        channels=[channel()] if channels is None else channels,
        paths=[(0, ""), *paths],
        ticks=ticks_,
        cells=cells_ if len(cells_) else empty,
        spans=empty,
        gaps=list(gaps),
        overhead={},
        warnings=[],
        **devices,
    )
    out.environment = {"host": "synthetic"}
    return out
