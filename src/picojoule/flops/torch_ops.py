"""PyTorch's operations, one by one, for a short while: what each costs and where it ran.

A dispatch mode sees every operation below autograd: backward passes, recomputed checkpoints and
inference mode included. It is gone when the block is left. Modes belong to a thread: what other
Python threads run is not seen (autograd's threads are, they inherit it).
"""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from picojoule.errors import MissingExtraError
from picojoule.flops import aten
from picojoule.flops.cost import Cost

try:
    import torch
    from torch.utils import flop_counter
    from torch.utils._python_dispatch import TorchDispatchMode
except ImportError:
    raise MissingExtraError("torch", "torch", "counting FLOPs of PyTorch operations") from None

_NAMESPACES = ("aten", "mkldnn", "prims", "mkl")
#: What reads rows of a large table: not all of it.
_LOOKUPS = ("embedding", "index", "index_select", "gather", "take", "_embedding_bag")
#: Real FLOPs of one complex operation.
_COMPLEX = {"add": 2, "sub": 2, "mul": 6, "div": 11, "neg": 2, "sum": 2, "mean": 2, "cumsum": 2}
_PRODUCTS = ("matmul", "conv", "attention", "rnn")
#: Asked of a tensor in Python; nothing runs.
_QUESTIONS = frozenset(
    (
        *("sym_size", "size", "sym_stride", "stride", "sym_numel", "numel", "sym_storage_offset"),
        *("storage_offset", "dim", "is_contiguous", "sym_is_contiguous", "is_strides_like_format"),
        *("is_non_overlapping_and_dense", "layout", "device"),
    )
)


#: Said where threads began while operations were looked at: what they ran is not in the rows.
OTHER_THREADS = "operations of other Python threads were not looked at"


@contextmanager
def _new_threads(told: Callable[[], None]) -> Iterator[None]:
    """Call ``told`` when a Python thread begins to run in the block, however short it lives."""
    before = threading.getprofile()
    open_ = True

    def first_event(frame: Any, event: Any, argument: Any) -> None:
        if open_ and not threading.current_thread().daemon:
            told()
        sys.setprofile(before)  # for this thread: nothing, or whose place this was
        if before is not None:
            before(frame, event, argument)

    threading.setprofile(first_event)
    try:
        yield
    finally:
        open_ = False
        if threading.getprofile() is first_event:
            threading.setprofile(before)


@dataclass(slots=True)
class Row:
    """All calls of one operation with one signature in one region."""

    op: str
    signature: str
    path: tuple[str, ...]
    calls: int
    cost: Cost  # of one call


class OpCounter:
    """Context manager: counts the operations of this thread.

    Args:
        path: the region that runs now; asked at each operation.
        around: if given, makes a context manager for each operation to run in, from its name and
            signature.
    """

    def __init__(
        self,
        path: Callable[[], tuple[str, ...]] = tuple,
        around: Callable[[str, str], AbstractContextManager[Any]] | None = None,
    ) -> None:
        """Nothing is counted before the block is entered."""
        self._mode = _Mode(path, around)
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        """Begin to count."""
        with ExitStack() as undo:
            undo.enter_context(_new_threads(self._another))
            # The compiler does not work under a mode: what may fall back to eager does, what must
            # not (fullgraph=True) would raise. The same operations run either way.
            if "torch._dynamo" in sys.modules:
                undo.enter_context(torch.compiler.set_stance("force_eager"))
            undo.enter_context(self._mode)
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Nothing stays installed."""
        self._undo.close()

    def _another(self) -> None:
        self._mode.notes[OTHER_THREADS] = None

    @property
    def rows(self) -> Sequence[Row]:
        """What was seen, in order of first appearance."""
        return list(self._mode.rows.values())

    @property
    def notes(self) -> Sequence[str]:
        """What a reader of the rows must know."""
        return list(self._mode.notes)


class _Mode(TorchDispatchMode):  # type: ignore[misc, unused-ignore]
    supports_higher_order_operators = True

    def __init__(
        self,
        path: Callable[[], tuple[str, ...]],
        around: Callable[[str, str], AbstractContextManager[Any]] | None,
    ) -> None:
        super().__init__()
        self.rows: dict[Any, Row] = {}
        self.notes: dict[str, None] = {}
        self._path = path
        self._around = around
        self._costs: dict[Any, tuple[str, Cost]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if isinstance(func, torch._ops.HigherOrderOperator):
            return self._higher_order(func, args, kwargs)
        packet = func._overloadpacket
        namespace, name = func.namespace, packet.__name__
        if name in _QUESTIONS and namespace in ("aten", "prim"):
            return NotImplemented if namespace == "aten" else func(*args, **kwargs)
        if namespace == "profiler":
            return func(*args, **kwargs)
        known = _user_formula(packet) is not None or (
            namespace in _NAMESPACES and aten.rule_of(name) is not None
        )
        if not known and not func.is_view:
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        key = (func, _key(args), _key(kwargs))
        cached = self._costs.get(key)
        op = f"{namespace}.{name}"
        # The signature is known before the call, the cost only with its result.
        signature = cached[0] if cached else _signature(args, kwargs)
        with nullcontext() if self._around is None else self._around(op, signature):
            out = func(*args, **kwargs)
        if cached is None:
            cached = self._costs[key] = (signature, _cost(func, args, kwargs, out))
        self._note(op, cached[0], cached[1])
        return out

    def _note(self, op: str, signature: str, cost: Cost) -> None:
        path = self._path()
        row = self.rows.get((path, op, signature))
        if row is None:
            self.rows[path, op, signature] = Row(op, signature, path, 1, cost)
        else:
            row.calls += 1

    def _higher_order(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        name = func.name()
        if aten.rule_of(name) is None and "triton_kernel_wrapper" not in name:
            # Control flow: run what it holds, under this mode.
            return NotImplemented
        out = func(*args, **kwargs)
        cost = _triton_cost(kwargs) if "triton" in name else _by_rule(name, args, kwargs, out)
        self._note(f"higher_order.{name}", _signature(args, kwargs), cost)
        return out


def _cost(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: Any) -> Cost:
    packet, name = func._overloadpacket, func._overloadpacket.__name__
    if func.is_view:
        return Cost(0.0, 0.0, "", "aten", "move", "a view")
    told = _user_formula(packet)
    if told is not None:
        flops = float(told(*args, **kwargs, out_val=out))
        return Cost(flops, _bytes(name, args, kwargs, out), _type(args, "matmul"), "user", "opaque")
    if func.namespace in _NAMESPACES and aten.rule_of(name) is not None:
        return _by_rule(name, args, kwargs, out)
    torchs = flop_counter.flop_registry.get(packet)
    moved = _bytes(name, args, kwargs, out)
    if torchs is not None:
        flops = float(torchs(*args, **kwargs, out_val=out))
        return Cost(flops, moved, _type(args, "matmul"), "aten", "matmul", "torch's own formula")
    why = aten.UNKNOWN.get(name, "no formula is known")
    if not any(_floating(t) for t in (*_tensors(args), *_tensors(kwargs), *_tensors(out))):
        return Cost(0.0, moved, "", "aten", "move", "no floating-point operand")
    return Cost(math.nan, moved, "", "", "opaque", why)


def _by_rule(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: Any) -> Cost:
    rule = aten.rule_of(name)
    assert rule is not None
    formula, kind, note = rule
    moved = _bytes(name, args, kwargs, out)
    operands = [*_tensors(args), *_tensors(kwargs)]
    computes = any(_floating(t) for t in (*operands, *_tensors(out)))
    if not computes and kind not in _PRODUCTS:
        return Cost(0.0, moved, "", "aten", kind, "no floating-point operand")
    try:
        flops = float(formula(args, kwargs, out))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        # Another version of the operation: its arguments have moved. Not known is the truth then.
        words = f"its arguments are not as expected ({type(error).__name__})"
        return Cost(math.nan, moved, "", "", kind, words)
    if flops and any(t.is_complex() for t in operands):
        plain = name.rstrip("_")
        factor = 4 if kind in _PRODUCTS else 1 if kind == "fft" else _COMPLEX.get(plain, math.nan)
        flops *= factor
        note = note or "complex numbers: real FLOPs"
    return Cost(flops, moved, _type(args, kind) if flops else "", "aten", kind, note)


def _triton_cost(kwargs: Mapping[str, Any]) -> Cost:
    """A Triton kernel inside a graph: what the user registered for it, else not known."""
    try:
        from torch._higher_order_ops.triton_kernel_wrap import kernel_side_table

        kernel = kernel_side_table.get_kernel(kwargs["kernel_idx"])
        while not hasattr(kernel, "arg_names") and hasattr(kernel, "fn"):
            kernel = kernel.fn
        told = flop_counter.flop_registry.get(kernel)
        if told is not None:
            return Cost(float(told(**kwargs)), math.nan, "", "user", "opaque")
    except (ImportError, KeyError, TypeError, AttributeError):
        pass
    return Cost(math.nan, math.nan, "", "", "opaque", "a Triton kernel of unknown cost")


def _user_formula(packet: Any) -> Callable[..., Any] | None:
    """A formula that somebody registered with torch, who must know better than we do."""
    found = flop_counter.flop_registry.get(packet)
    if found is None or getattr(found, "__module__", "") == flop_counter.__name__:
        return None
    return found  # type: ignore[no-any-return, unused-ignore]


def _floating(tensor: Any) -> bool:
    return bool(tensor.is_floating_point() or tensor.is_complex())


_NAMES = {
    "float64": "fp64", "float32": "fp32", "float16": "fp16", "bfloat16": "bf16",
    "complex128": "fp64", "complex64": "fp32", "complex32": "fp16",
}  # fmt: skip


def _type(args: Any, kind: str) -> str:
    """What it computes with, one of ``cost.TYPES``."""
    operands = list(_tensors(args))
    floating = [t for t in operands if _floating(t)]
    if not floating:
        on_gpu = any(t.device.type == "cuda" for t in operands)
        return "tensor-int8" if on_gpu and kind == "matmul" else "int"
    # Sums go to the widest; products are of the first operand, which a bias comes before.
    lead = min(floating, key=lambda t: t.element_size()) if kind in _PRODUCTS else floating[0]
    dtype = str(lead.dtype).removeprefix("torch.")
    name = "fp8" if dtype.startswith("float8") else _NAMES.get(dtype, "")
    if lead.device.type != "cuda" or kind not in _PRODUCTS:
        return "" if name == "fp8" else name
    if name == "fp32":
        conv = kind in ("conv", "rnn")
        allowed = torch.backends.cudnn if conv else torch.backends.cuda.matmul
        return "tensor-tf32" if allowed.allow_tf32 else "fp32"
    return f"tensor-{name}" if name in ("bf16", "fp16", "fp8") else name


def _bytes(name: str, args: Any, kwargs: Any, out: Any) -> float:
    """Each input read once, each result written once; of tables only the rows that are read."""
    plain = name.rstrip("_")
    inputs = list(_tensors(args)) + list(_tensors(kwargs))
    results = list(_tensors(out))
    if plain in _LOOKUPS and inputs:
        # The table comes first: as much of it is read as comes out.
        inputs = inputs[1:] + results[:1]
    if plain in (
        "fill",
        "zero",
        "zeros",
        "ones",
        "full",
        "empty",
        "uniform",
        "normal",
        "bernoulli",
    ):
        inputs = []
    seen: dict[int, int] = {}
    for tensor in inputs:
        seen[id(tensor)] = _size_in_memory(tensor)
    return float(sum(seen.values()) + sum(_size_in_memory(t) for t in results))


def _size_in_memory(tensor: Any) -> int:
    nbytes = int(tensor.numel()) * int(tensor.element_size())
    if tensor.layout is not torch.strided:
        return int(tensor._nnz()) * int(tensor.element_size()) if tensor.is_sparse else nbytes
    try:  # an expanded tensor is smaller than its shape says
        return min(nbytes, int(tensor.untyped_storage().nbytes()))
    except (RuntimeError, NotImplementedError):
        return nbytes


def _tensors(tree: Any) -> Iterator[Any]:
    if isinstance(tree, torch.Tensor):
        yield tree
    elif isinstance(tree, (list, tuple)):
        for item in tree:
            yield from _tensors(item)
    elif isinstance(tree, dict):
        for item in tree.values():
            yield from _tensors(item)


def _key(tree: Any) -> Any:
    """What the cost may depend on, hashable."""
    if isinstance(tree, torch.Tensor):
        stored = tree._nnz() if tree.layout is not torch.strided and not tree.is_mkldnn else 0
        return (
            (tuple(tree.shape), tree.dtype, tree.device.type, stored, 0 in tree.stride())
            if (tree.layout is torch.strided)
            else (tuple(tree.shape), tree.dtype, tree.device.type, stored, tree.layout)
        )
    if isinstance(tree, (list, tuple)):
        # The same tensor twice (self-attention) costs otherwise than two alike.
        same = tuple(i for i, t in enumerate(tree) if i and t is tree[0]) if len(tree) < 16 else ()
        return (*(_key(item) for item in tree), same)
    if isinstance(tree, dict):
        return tuple((k, _key(v)) for k, v in tree.items())
    try:
        hash(tree)
    except TypeError:
        return id(type(tree))
    return tree


def _signature(args: Any, kwargs: Any) -> str:
    """Shapes and types of the operands: ``fp32[64,32] fp32[32,16]``."""
    words = []
    for t in (*_tensors(args), *_tensors(kwargs)):
        dtype = str(t.dtype).removeprefix("torch.")
        words.append(f"{_NAMES.get(dtype, dtype)}[{','.join(map(str, t.shape))}]")
    if len(words) > 12:
        words = [*words[:12], f"and {len(words) - 12} more"]
    return " ".join(words)
