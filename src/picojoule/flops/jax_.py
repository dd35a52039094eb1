"""FLOPs of JAX functions, from the program that XLA made of them."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import Any

from picojoule.errors import MissingExtraError, UsageError
from picojoule.flops.hlo import HloCosts, costs
from picojoule.flops.work import KernelCost

_lock = threading.Lock()
_known: list[HloCosts] = []


def count_jax(function: Any, *args: Any, **kwargs: Any) -> HloCosts:
    """The costs of ``function(*args, **kwargs)``, compiled but not run.

    Each loop counts as often as it runs, where the compiler knows that; a call that cannot be seen
    into is nan by itself, and in ``unknown``. Profiles that end later give kernels of the same
    names these costs, times the launches that they see.

    Args:
        function: a function, a jitted one, or what ``.lower(...).compile()`` gave.
        *args: what it is called with; shapes and dtypes (``jax.ShapeDtypeStruct``) will do.
        **kwargs: likewise.

    Raises:
        MissingExtraError: JAX is not installed.
        UsageError: it is compiled, but tells no program.
    """
    try:
        import jax
    except ImportError:
        raise MissingExtraError("jax", "jax", "counting FLOPs of JAX functions") from None
    compiled = function
    if not hasattr(compiled, "as_text") or hasattr(compiled, "lower"):
        jitted = function if hasattr(function, "lower") else jax.jit(function)
        compiled = jitted.lower(*args, **kwargs).compile()
    text = compiled.as_text()
    if not text:
        raise UsageError("JAX gives no text of that program")
    found = costs(text, gpu=jax.default_backend() in ("gpu", "cuda", "rocm"))
    with _lock:
        _known.append(found)
    return found


def kernel_costs(names: Iterable[str]) -> Iterator[KernelCost]:
    """Costs of the kernels of those names; none where two programs disagree on a name."""
    wanted = set(names)
    found: dict[str, list[Any]] = {}
    with _lock:
        for program in _known:
            for k in program.kernels:
                if k.kernel_name in wanted:
                    found.setdefault(k.kernel_name, []).append(k.cost)
    for name, several in found.items():
        if all(c == several[0] for c in several):
            yield KernelCost(name, several[0])
