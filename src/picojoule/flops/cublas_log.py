"""What cuBLAS says of the products it runs, for frameworks of which nobody knows the operations.

cuBLASLt, through which cuBLAS' own products go as well, tells each call to whoever asks for its log
(level 2, "trace"): types, shapes and batches. That is enough for the FLOPs of a product, whoever
launched it: CuPy, raw CUDA, a library. It is asked for during ``pj.count_flops()`` only.

Not tried on a GPU yet: what is read here is the form of logs that others have published.
"""

from __future__ import annotations

import ctypes
import math
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from picojoule.flops.cost import Cost

_LAYOUT = re.compile(r"\b([ABCD])desc=\[([^\]]*)\]")
_COMPUTE = re.compile(r"\bcomputeDesc=\[([^\]]*)\]")
_PAIR = re.compile(r"(\w+)=(\S+)")
_TYPES = {"16BF": "tensor-bf16", "16F": "tensor-fp16", "64F": "fp64", "8I": "tensor-int8"}
_FAST = {"TF32": "tensor-tf32", "16BF": "tensor-bf16", "16F": "tensor-fp16"}
_BITS = re.compile(r"[RC]_(\d+)")
_TRACE_LEVEL = 2
_CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p)


#: Who listens; the innermost hears. The callback lives as long as the library, which may be in it.
_listeners: list[Callable[[str, Cost], None]] = []


def _told(_level: int, function: bytes | None, message: bytes | None) -> None:
    name = (function or b"").decode(errors="replace")
    text = (message or b"").decode(errors="replace")
    if _listeners and "Matmul" in name and "Adesc=[" in text:  # not the calls that prepare one
        _listeners[-1](*cost_of(text))


_callback = _CALLBACK(_told)


def cost_of(message: str) -> tuple[str, Cost]:
    """The signature and the cost of the product that a message tells of.

    The FLOPs are 2 m n k for each of a batch (8 m n k of complex numbers), nan where the message
    does not have the form that is known.
    """
    layouts = {name: dict(_PAIR.findall(text)) for name, text in _LAYOUT.findall(message)}
    found = _COMPUTE.search(message)
    compute = dict(_PAIR.findall(found.group(1))) if found else {}
    try:
        a, b, d = layouts["A"], layouts["B"], layouts.get("D") or layouts["C"]
        m, n = int(d["rows"]), int(d["cols"])
        k = int(a["rows"] if compute.get("transa", "OP_N") != "OP_N" else a["cols"])
        batch = int(d.get("batchCount", 1))
        complex_ = 4 if a["type"].startswith("C_") else 1
        flops = 2.0 * m * n * k * batch * complex_
        moved = sum(
            int(x["rows"]) * int(x["cols"]) * batch * _bits(x["type"]) / 8 for x in (a, b, d)
        )
    except (KeyError, ValueError):
        cost = Cost(math.nan, math.nan, "", "", "matmul", "a message of unknown form")
        return "?", cost
    signature = f"{m}x{n}x{k}" + (f" x{batch}" if batch > 1 else "") + f" {a['type']}"
    return signature, Cost(flops, moved, _type(a["type"], compute), "cublas", "matmul")


def _bits(type_: str) -> int:
    found = _BITS.match(type_)
    if found is None:
        raise ValueError(type_)
    return int(found.group(1)) * (2 if type_.startswith("C_") else 1)


def _type(of_a: str, compute: dict[str, str]) -> str:
    bare = of_a.partition("_")[2]
    if bare.startswith("8F"):
        return "tensor-fp8"
    if bare == "32F":
        fast = compute.get("computeType", "").partition("_FAST_")[2]
        return _FAST.get(fast, "" if fast else "fp32")
    return _TYPES.get(bare, "")


def loaded() -> list[str]:
    """Paths of the copies of cuBLASLt that this process has loaded; loads none."""
    try:
        lines = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    paths = (line.partition("/")[2] for line in lines if "libcublasLt.so" in line)
    return list(dict.fromkeys("/" + path for path in paths))


@contextmanager
def looking(note: Callable[[str, Cost], None]) -> Iterator[str]:
    """Call ``note(signature, cost)`` at each product of cuBLAS in the block, on its thread.

    Gives "" if they will be told; else why not. Does nothing where cuBLAS is not loaded, nor where
    its user has set up a log of his own; afterwards the log is off, as it was.
    """
    paths = loaded()
    if not paths:
        yield "cuBLAS is not loaded"
        return
    if any(os.environ.get(f"CUBLASLT_LOG_{what}") for what in ("LEVEL", "MASK")):
        yield "CUBLASLT_LOG_LEVEL or _MASK is set: the log is left to whoever set it"
        return
    libraries = []
    for path in paths:
        library = ctypes.CDLL(path, mode=os.RTLD_NOLOAD | os.RTLD_NOW)
        if hasattr(library, "cublasLtLoggerSetCallback"):
            libraries.append(library)
    if not libraries:
        yield "this cuBLAS is too old to tell"
        return

    _listeners.append(note)
    for library in libraries:
        library.cublasLtLoggerOpenFile(b"/dev/null")  # else it goes to stdout, too
        library.cublasLtLoggerSetCallback(_callback)
        library.cublasLtLoggerSetLevel(_TRACE_LEVEL)
    try:
        yield ""
    finally:
        _listeners.remove(note)
        for library in libraries if not _listeners else ():
            library.cublasLtLoggerSetLevel(0)
            library.cublasLtLoggerSetCallback(None)
