"""FLOPs of JAX functions, from what XLA made of them."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Any

from picojoule.errors import MissingExtraError, UsageError
from picojoule.flops import work
from picojoule.flops.cost import Cost
from picojoule.flops.hlo import HloCosts, KernelCost, costs

#: What the xplane importer appends to a kernel's name: [module/op], [op] or [module].
_WHERE = re.compile(r"^(.*?) \[([^\[\]]*)\]$")
#: What XLA may append to a module's name: jit_step(4711).
_PROGRAM = re.compile(r"\(\d+\)$")
_SPECIAL = re.compile(r"[^A-Za-z0-9_]")
#: Kernels that libraries launch beside the one that multiplies.
_HELPER = re.compile(
    r"splitk|reduce|memset|memcpy|transpose|convert|scale|pad|nchw|nhwc|workspace", re.IGNORECASE
)


_lock = threading.Lock()
_programs: list[HloCosts] = []


def count_jax(fn: Any, *args: Any, **kwargs: Any) -> HloCosts:
    """FLOPs and bytes of ``fn(*args, **kwargs)``; it is compiled, not run.

    Profiles that end later give the kernels of this program their cost, times the launches seen.

    ``fn`` is a function, one that ``jax.jit`` returned (give it like that if it has static
    arguments), or what ``.lower(...)`` or ``.compile()`` returned, then without arguments. They
    may be ``jax.ShapeDtypeStruct``.

    Raises:
        MissingExtraError: jax is not installed.
        UsageError: ``fn`` is already compiled and arguments are given.
    """
    compiled = _compiled(fn, args, kwargs)
    text = compiled.as_text()
    if not text:
        raise UsageError("this backend of JAX does not give the HLO text of compiled programs")
    found = costs(text, platform=_platform(compiled))
    with _lock:
        _programs.append(found)
    return found


def kernel_costs(names: Iterable[str]) -> Iterator[work.KernelCost]:
    """What the programs counted so far tell of the kernels of those names."""
    with _lock:
        programs = list(_programs)
    for name, cost in match_kernels(programs, names).items():
        yield work.KernelCost(name, cost)


def _compiled(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if hasattr(fn, "as_text") and not hasattr(fn, "lower"):
        if args or kwargs:
            raise UsageError("fn is lowered or compiled already: its arguments are fixed")
        return fn.compile() if hasattr(fn, "compile") else fn
    if not hasattr(fn, "lower"):
        try:
            jax = import_module("jax")
        except ImportError:
            raise MissingExtraError("jax", "jax", "counting FLOPs of JAX functions") from None
        fn = jax.jit(fn)
    return fn.lower(*args, **kwargs).compile()


def _platform(compiled: Any) -> str:
    """The platform it was compiled for; "" leaves it to the text."""
    try:
        platform = str(compiled.runtime_executable().local_devices()[0].platform)
    except Exception:  # an interface of the runtime, not of JAX: it may change or be missing
        return ""
    return {"cuda": "gpu", "rocm": "gpu"}.get(platform, platform)


def match_kernels(programs: HloCosts | Iterable[HloCosts], names: Iterable[str]) -> dict[str, Cost]:
    """The cost of one run of each kernel of a profile that belongs to one of ``programs``.

    ``names`` are those of a profile: with the origin in brackets, ``sm90_gemm [jit_step/dot.3]``,
    as in JAX's own profiles, or bare, where XLA names the kernels that it generates after the
    instruction, ``loop_add_fusion_3`` for ``loop_add_fusion.3``. Kernels of libraries are found by
    their origin only. A name that fits two programs or instructions of different cost is left out.

    Where a library launches several kernels for one instruction, the FLOPs go to the main one; the
    others get 0 with a note, and unknown bytes.
    """
    index = _Index()
    for program in (programs,) if isinstance(programs, HloCosts) else programs:
        index.add(program)
    found: dict[str, Cost] = {}
    shared: dict[tuple[str, str], list[str]] = {}
    for name in dict.fromkeys(names):
        where = _WHERE.match(name)
        kernel, module, op = _origin(where[1], where[2], index) if where else (name, "", "")
        # A kernel whose origin is known belongs to that or to none, whatever else is named alike.
        cost = index.by_op(module, op) if op else index.by_name(module, kernel)
        if cost is not None:
            found[name] = cost
            if op:
                shared.setdefault((module, op), []).append(name)
    for (_, op), kernels in shared.items():
        if len(kernels) > 1:
            _share(found, kernels, op)
    return found


def _origin(kernel: str, where: str, index: _Index) -> tuple[str, str, str]:
    """Kernel, module and operation in ``kernel [where]``; one of the last two may be ""."""
    module, slash, op = where.partition("/")
    if not slash and not index.knows(module):
        module, op = "", module
    return kernel, _PROGRAM.sub("", module), op


def _share(found: dict[str, Cost], kernels: list[str], op: str) -> None:
    main = min(kernels, key=lambda name: bool(_HELPER.search(name.partition(" [")[0])))
    for name in kernels:
        if name != main:
            cost = found[name]
            note = f"part of {op}, whose FLOPs are with {main.partition(' [')[0]}"
            found[name] = Cost(0.0, float("nan"), cost.type, cost.source, cost.kind, note)


class _Index:
    """Kernels by module ("" for any) and by the instruction's or the kernel's name."""

    def __init__(self) -> None:
        self._ops: dict[tuple[str, str], list[KernelCost]] = {}
        self._names: dict[tuple[str, str], list[KernelCost]] = {}
        self._modules: set[str] = set()

    def add(self, program: HloCosts) -> None:
        self._modules.add(program.module)
        for kernel in program.kernels:
            name = _SPECIAL.sub("_", kernel.name)
            for module in (program.module, ""):
                self._ops.setdefault((module, kernel.name), []).append(kernel)
                self._names.setdefault((module, name), []).append(kernel)

    def knows(self, module: str) -> bool:
        return _PROGRAM.sub("", module) in self._modules

    def by_op(self, module: str, op: str) -> Cost | None:
        return _one(self._ops.get((module, op), []))

    def by_name(self, module: str, name: str) -> Cost | None:
        return _one(self._names.get((module, name), []))


def _one(kernels: list[KernelCost]) -> Cost | None:
    """The cost, if all agree; two that are both unknown do."""
    costs_ = {repr((k.cost.flops, k.cost.bytes, k.cost.type)): k.cost for k in kernels}
    return next(iter(costs_.values())) if len(costs_) == 1 else None
