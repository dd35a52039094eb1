"""Writes the stored HLO texts beside it: ``python make_hlo.py`` with jax on a CPU.

Each program is tiny and its FLOPs are known by hand; tests/unit/flops/test_hlo.py has them. Lines
of source files are left out, so that a text does not depend on where this file lies.
"""

from __future__ import annotations

import gzip
import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

HERE = pathlib.Path(__file__).parent
_TABLE = re.compile(
    r"^(FileNames|FunctionNames|FileLocations|StackFrames)\n(?:\d.*\n)*\n?", re.MULTILINE
)
_FRAME = re.compile(r" stack_frame_id=\d+")


def f32(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def scan(x, w):
    return lax.scan(lambda c, _: (c @ w, None), x, None, length=10)[0]


def nested(x, w):
    inner = lambda c: lax.scan(lambda c, _: (c @ w, None), c, None, length=5)[0]  # noqa: E731
    return lax.scan(lambda c, _: (inner(c), None), x, None, length=4)[0]


def dynamic(x, n):
    return lax.while_loop(lambda s: s[0] < n, lambda s: (s[0] + 1, s[1] @ s[1]), (0, x))[1]


def callback(x):
    return jax.pure_callback(lambda v: v, f32(64, 64), x)


def branch(p, x):
    return lax.cond(p, lambda x: x @ x, lambda x: x, x)


def loss(w, x):
    return jnp.tanh(x @ w).sum()


def convolution(x, w, groups):
    dims = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        x, w, (1, 1), "SAME", dimension_numbers=dims, feature_group_count=groups
    )


PROGRAMS = {
    "scan": (scan, f32(64, 32), f32(32, 32)),
    "nested": (nested, f32(64, 32), f32(32, 32)),
    "dynamic": (dynamic, f32(64, 64), jax.ShapeDtypeStruct((), jnp.int32)),
    "callback": (callback, f32(64, 64)),
    "mixed": (lambda x: callback(x) @ x, f32(64, 64)),
    "branch": (branch, jax.ShapeDtypeStruct((), jnp.bool_), f32(64, 64)),
    "grad": (jax.grad(loss), f32(32, 16), f32(64, 32)),
    "conv": (lambda x, w: convolution(x, w, 1), f32(2, 16, 16, 8), f32(3, 3, 8, 8)),
    "depthwise": (lambda x, w: convolution(x, w, 8), f32(2, 16, 16, 8), f32(3, 3, 1, 8)),
    "cumsum": (jnp.cumsum, f32(64)),
    "cholesky": (jnp.linalg.cholesky, f32(16, 16)),
    "sort": (jnp.sort, f32(64, 64)),
    "fft": (jnp.fft.fft, jax.ShapeDtypeStruct((4, 64), np.complex64)),
}


def main() -> None:
    for name, (function, *arguments) in PROGRAMS.items():
        text = jax.jit(function).lower(*arguments).compile().as_text()
        text = _FRAME.sub("", _TABLE.sub("", text))
        (HERE / f"{name}.hlo.gz").write_bytes(gzip.compress(text.encode(), mtime=0))


if __name__ == "__main__":
    main()
