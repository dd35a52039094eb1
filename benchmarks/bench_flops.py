"""FLOP counters against exact answers: ours beside six others, on the same 60 cases.

    python benchmarks/bench_flops.py            # every tool that is installed, each in a process
    python benchmarks/bench_flops.py --tool fvcore

Truth is 2 FLOP for each multiply-add of products (matrix products, convolutions, attention,
recurrent layers), worked out from the shapes; tools that count multiply-adds are doubled. Of what
is no product, everything is asked, by the usual conventions: an element-wise operation is 1 FLOP
an element, a complex FFT 5 n log2 n, a Cholesky factor n^3 / 3, a solution 2 n^3 / 3 + 2 n^2. A
tool is exact, says that it does not know (nan, an exception), is silent (0), or is wrong by more
than 10 % or by less (biases, activations, softmax count or do not by convention). "within 10 %" is
kept apart so that a convention does not pass for an error.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import logging
import math
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

F = torch.nn.functional
t = torch.randn
TOOLS = ("picojoule", "FlopCounterMode", "fvcore", "thop", "ptflops", "calflops", "deepspeed")


class Of(nn.Module):
    """A function as a module, which the tools want."""

    def __init__(self, function: Callable[..., Any], *layers: nn.Module) -> None:
        super().__init__()
        self.function = function
        self.layers = nn.ModuleList(layers)

    def forward(self, *inputs: torch.Tensor) -> Any:
        return self.function(*self.layers, *inputs)


def cases() -> dict[str, tuple[nn.Module, tuple[torch.Tensor, ...], int, bool]]:
    """Name -> (module, inputs, true FLOPs, whether its gradients are asked for)."""
    b, h, s, d = 2, 8, 64, 32
    q = t(b, h, s, d)
    mha = 1_179_648
    encoder = 2_228_224
    out: dict[str, tuple[nn.Module, tuple[torch.Tensor, ...], int, bool]] = {}

    def add(name: str, module: Any, inputs: tuple[torch.Tensor, ...], truth: int) -> None:
        out[name] = (module if isinstance(module, nn.Module) else Of(module), inputs, truth, False)

    def add_all(name: str, module: Any, inputs: tuple[torch.Tensor, ...], truth: int) -> None:
        """A case that is no product."""
        add(name, module, inputs, truth)
        out[name][0].no_product = True  # type: ignore[assignment]

    def add_backward(name: str, module: Any, inputs: Any, truth: int) -> None:
        made = module if isinstance(module, nn.Module) else Of(module)
        out[name + ", fwd+bwd"] = (made, inputs, truth, True)

    mm = 65_536
    add("x @ W", lambda a, b: a @ b, (t(64, 32), t(32, 16)), mm)
    add("torch.mm", lambda *a: torch.mm(*a), (t(64, 32), t(32, 16)), mm)
    add("torch.addmm", lambda *a: torch.addmm(*a), (t(16), t(64, 32), t(32, 16)), mm)
    add(
        "torch.matmul 4-d",
        lambda *a: torch.matmul(*a),
        (t(2, 3, 8, 16), t(2, 3, 16, 4)),
        2 * 6 * 8 * 16 * 4,
    )
    add("torch.bmm", lambda *a: torch.bmm(*a), (t(32, 16, 16), t(32, 16, 16)), 262_144)
    add(
        "torch.baddbmm",
        lambda *a: torch.baddbmm(*a),
        (t(4, 8, 32), t(4, 8, 16), t(4, 16, 32)),
        32_768,
    )
    add("torch.mv", lambda *a: torch.mv(*a), (t(64, 32), t(32)), 4096)
    add("torch.dot", lambda *a: torch.dot(*a), (t(100), t(100)), 200)
    add("torch.addmv", lambda *a: torch.addmv(*a), (t(64), t(64, 32), t(32)), 4096)
    add(
        "einsum",
        lambda a, b: torch.einsum("bij,bjk->bik", a, b),
        (t(4, 8, 16), t(4, 16, 32)),
        32_768,
    )
    add("F.linear", lambda *a: F.linear(*a), (t(8, 32), t(16, 32)), 8192)
    add("nn.Linear", nn.Linear(32, 16, bias=False), (t(8, 32),), 8192)
    add(
        "nn.Linear called twice",
        Of(lambda m, x: m(m(x)), nn.Linear(64, 64, bias=False)),
        (t(16, 64),),
        262_144,
    )
    add(
        "nn.Bilinear",
        nn.Bilinear(8, 8, 4, bias=False),
        (t(16, 8), t(16, 8)),
        2 * 16 * 4 * 8 * 8 + 2 * 16 * 4 * 8,
    )
    add("F.conv1d", lambda *a: F.conv1d(*a), (t(2, 3, 20), t(8, 3, 5)), 2 * 2 * 16 * 8 * 15)
    add("F.conv2d", lambda *a: F.conv2d(*a), (t(1, 3, 34, 34), t(8, 3, 3, 3)), 2 * 32 * 32 * 8 * 27)
    add("F.conv3d", lambda *a: F.conv3d(*a), (t(1, 2, 8, 8, 8), t(4, 2, 3, 3, 3)), 2 * 216 * 4 * 54)
    add("nn.Conv2d", nn.Conv2d(3, 8, 3, bias=False), (t(1, 3, 34, 34),), 2 * 32 * 32 * 8 * 27)
    add(
        "Conv2d strided, padded",
        nn.Conv2d(3, 8, 3, 2, 1, bias=False),
        (t(2, 3, 32, 32),),
        2 * 2 * 256 * 8 * 27,
    )
    add(
        "Conv2d dilated",
        nn.Conv2d(3, 8, 3, dilation=2, bias=False),
        (t(1, 3, 32, 32),),
        2 * 784 * 8 * 27,
    )
    add(
        "Conv2d groups=4",
        nn.Conv2d(8, 16, 3, groups=4, bias=False),
        (t(1, 8, 16, 16),),
        2 * 196 * 16 * 18,
    )
    add(
        "Conv2d depthwise",
        nn.Conv2d(32, 32, 3, padding=1, groups=32, bias=False),
        (t(1, 32, 32, 32),),
        589_824,
    )
    add(
        "ConvTranspose2d",
        nn.ConvTranspose2d(16, 8, 4, 2, 1, bias=False),
        (t(2, 16, 8, 8),),
        2 * 2 * 64 * 2048,
    )
    add(
        "ConvTranspose2d groups=4",
        nn.ConvTranspose2d(16, 32, 4, 2, 1, groups=4, bias=False),
        (t(8, 16, 8, 8),),
        2 * 8 * 64 * 2048,
    )
    add("ConvTranspose1d", nn.ConvTranspose1d(8, 4, 3, bias=False), (t(2, 8, 20),), 2 * 2 * 20 * 96)
    add("SDPA", lambda *a: F.scaled_dot_product_attention(*a), (q, q, q), 4 * b * h * s * s * d)
    add(
        "SDPA, shorter queries",
        lambda *a: F.scaled_dot_product_attention(*a),
        (t(b, h, 16, d), q, q),
        4 * b * h * 16 * s * d,
    )
    add("nn.LSTM", nn.LSTM(32, 64, 2, bias=False), (t(10, 3, 32),), 2 * 30 * 256 * 224)
    add(
        "nn.LSTM both directions",
        nn.LSTM(32, 64, bidirectional=True, bias=False),
        (t(10, 3, 32),),
        2 * 2 * 30 * 256 * 96,
    )
    add("nn.LSTMCell", nn.LSTMCell(32, 64, bias=False), (t(3, 32),), 2 * 3 * 256 * 96)
    add("nn.GRU", nn.GRU(32, 64, bias=False), (t(10, 3, 32),), 2 * 30 * 192 * 96)
    add("nn.RNN", nn.RNN(32, 64, bias=False), (t(10, 3, 32),), 2 * 30 * 64 * 96)
    add(
        "MultiheadAttention, training",
        Of(
            lambda m, x: m(x, x, x, need_weights=False)[0],
            nn.MultiheadAttention(64, 4, batch_first=True),
        ),
        (t(2, 16, 64),),
        mha,
    )
    add(
        "MultiheadAttention, eval",
        Of(lambda m, x: m(x, x, x)[0], nn.MultiheadAttention(64, 4, batch_first=True)).eval(),
        (t(2, 16, 64),),
        mha,
    )
    add(
        "TransformerEncoderLayer, training",
        nn.TransformerEncoderLayer(64, 4, 128, batch_first=True),
        (t(2, 16, 64),),
        encoder,
    )
    add(
        "TransformerEncoderLayer, eval",
        nn.TransformerEncoderLayer(64, 4, 128, batch_first=True).eval(),
        (t(2, 16, 64),),
        encoder,
    )
    add(
        "int8 product",
        lambda *a: torch._int_mm(*a),
        (torch.ones(32, 16, dtype=torch.int8), torch.ones(16, 8, dtype=torch.int8)),
        8192,
    )
    add("sparse CSR @ dense", lambda x: torch.eye(64).to_sparse_csr() @ x, (t(64, 16),), 2048)
    add("sparse COO @ dense", lambda x: torch.eye(64).to_sparse() @ x, (t(64, 16),), 2048)
    add(
        "complex product",
        lambda *a: torch.mm(*a),
        (t(8, 4, dtype=torch.cfloat), t(4, 2, dtype=torch.cfloat)),
        512,
    )
    add("vmap of mv", lambda a, b: torch.vmap(torch.mv)(a, b), (t(5, 8, 4), t(5, 4)), 320)
    add(
        "checkpointed product",
        _checkpointed,
        (t(8, 32, requires_grad=True), t(32, 32, requires_grad=True)),
        2 * 8 * 32 * 32,
    )
    add(
        "SDPA, causal, counted dense",
        lambda *a: F.scaled_dot_product_attention(*a, is_causal=True),
        (q, q, q),
        4 * b * h * s * s * d,
    )
    add("product in another thread", _in_a_thread, (t(64, 32), t(32, 16)), mm)
    add("autocast", _autocast, (t(64, 32), t(32, 16)), mm)
    add("torch.jit.script", torch.jit.script(_mm), (t(64, 32), t(32, 16)), mm)
    add("torch.compile", torch.compile(_mm, backend="eager"), (t(64, 32), t(32, 16)), mm)
    add(
        "grouped product",
        lambda *a: torch._grouped_mm(*a),
        (t(4, 16, 32, dtype=torch.bfloat16), t(4, 32, 64, dtype=torch.bfloat16)),
        2 * 4 * 16 * 32 * 64,
    )
    add("operation of the user's own", _opaque(), (t(64, 64),), 2 * 64**3)
    add_all("x * x + x", lambda x: x * x + x, (t(1000, 1000),), 2_000_000)
    add_all(
        "EmbeddingBag, sum",
        Of(lambda m, i: m(i, torch.tensor([0, 2])), nn.EmbeddingBag(10, 4, mode="sum")),
        (torch.tensor([1, 2, 3, 4]),),
        8,
    )
    add_all("FFT", torch.fft.fft, (t(4, 16, dtype=torch.complex64),), 4 * 5 * 16 * 4)
    add_all("Cholesky", torch.linalg.cholesky, (torch.eye(12),), 12**3 // 3)
    add_all("solve", torch.linalg.solve, (torch.eye(12), t(12, 1)), 2 * 12**3 // 3 + 2 * 12**2)
    left, right = t(64, 32, requires_grad=True), t(32, 16, requires_grad=True)
    add_backward("x @ W", lambda a, b: a @ b, (left, right), 3 * mm)
    add_backward(
        "depthwise conv",
        nn.Conv2d(32, 32, 3, padding=1, groups=32, bias=False),
        (t(1, 32, 32, 32, requires_grad=True),),
        1_769_472,
    )
    add_backward(
        "conv groups=4",
        nn.Conv2d(16, 16, 3, groups=4, bias=False),
        (t(2, 16, 10, 10, requires_grad=True),),
        3 * 2 * 2 * 64 * 16 * 36,
    )
    add_backward(
        "ConvTranspose2d groups=4",
        nn.ConvTranspose2d(16, 32, 4, 2, 1, groups=4, bias=False),
        (t(2, 16, 8, 8, requires_grad=True),),
        3 * 2 * 2 * 64 * 2048,
    )
    g = q.clone().requires_grad_()
    add_backward(
        "SDPA",
        lambda *a: F.scaled_dot_product_attention(*a),
        (g, g.clone(), g.clone()),
        7 * 2 * b * h * s * s * d,
    )
    add_backward(
        "nn.LSTM",
        Of(lambda m, x: m(x)[0], nn.LSTM(32, 64, bias=False)),
        (t(10, 3, 32, requires_grad=True),),
        3 * 2 * 30 * 256 * 96,
    )
    return out


def _mm(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.mm(a, b)


def _in_a_thread(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    thread = threading.Thread(target=torch.mm, args=(a, b))
    thread.start()
    thread.join()
    return a


def _autocast(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return torch.mm(a, b)


def _opaque() -> Callable[[torch.Tensor], torch.Tensor]:
    """An operation whose FLOPs nobody can know: to say so is the right answer."""

    @torch.library.custom_op("bench_flops::square", mutates_args=())
    def square(x: torch.Tensor) -> torch.Tensor:
        return x @ x

    return square  # type: ignore[return-value]


def _checkpointed(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    from torch.utils.checkpoint import checkpoint

    return checkpoint(torch.mm, x, w, use_reentrant=False)  # type: ignore[no-any-return]


def run(module: nn.Module, inputs: tuple[torch.Tensor, ...], backward: bool) -> None:
    """What is counted."""
    with contextlib.nullcontext() if backward or module.training else torch.no_grad():
        result = module(*inputs)
    if backward:
        result.sum().backward()


def by_picojoule(module: nn.Module, inputs: tuple[torch.Tensor, ...], backward: bool) -> float:
    from picojoule.flops.torch_ops import OpCounter

    with OpCounter() as counter:
        run(module, inputs, backward)
    products = ("matmul", "conv", "attention", "rnn", "opaque")
    everything = getattr(module, "no_product", False)
    chosen = [r for r in counter.rows if everything or r.cost.kind in products]
    # Other threads are not looked at: what they did is unknown, and that is said.
    if any("thread" in note for note in counter.notes):
        return math.nan
    return math.fsum(r.cost.flops * r.calls for r in chosen)


def by_flop_counter(module: nn.Module, inputs: tuple[torch.Tensor, ...], backward: bool) -> float:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        run(module, inputs, backward)
    return counter.get_total_flops()


def by_fvcore(module: nn.Module, inputs: tuple[torch.Tensor, ...], backward: bool) -> float:
    from fvcore.nn import FlopCountAnalysis

    found = FlopCountAnalysis(module, inputs)
    found.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    return 2 * found.total()


def by_thop(module: nn.Module, inputs: tuple[torch.Tensor, ...], backward: bool) -> float:
    from thop import profile

    return 2 * profile(module, inputs=inputs, verbose=False)[0]


def by_ptflops(module: nn.Module, inputs: tuple[torch.Tensor, ...], backward: bool) -> float:
    from ptflops import get_model_complexity_info

    names = [f"a{i}" for i in range(len(inputs))]
    holder = Of(lambda m, **k: m(*(k[n] for n in names)), module)
    holder.forward = lambda **k: holder.function(module, **k)  # type: ignore[method-assign]
    macs, _ = get_model_complexity_info(
        holder, (1,), as_strings=False, print_per_layer_stat=False, backend="aten",
        input_constructor=lambda _: dict(zip(names, inputs, strict=True)),
    )  # fmt: skip
    return math.nan if macs is None else 2 * macs


def by_calflops(module: nn.Module, inputs: tuple[torch.Tensor, ...], backward: bool) -> float:
    from calflops import calculate_flops

    flops, _, _ = calculate_flops(
        module, args=list(inputs), print_results=False, print_detailed=False,
        output_as_string=False, include_backPropagation=backward,
    )  # fmt: skip
    return float(flops)


def by_deepspeed(module: nn.Module, inputs: tuple[torch.Tensor, ...], backward: bool) -> float:
    from deepspeed.profiling.flops_profiler import get_model_profile

    flops, macs, _ = get_model_profile(
        module, args=list(inputs), print_profile=False, detailed=False, as_string=False,
        warm_up=0,
    )  # fmt: skip
    return float(flops) if getattr(module, "no_product", False) else 2 * float(macs)


COUNT = {
    "picojoule": by_picojoule,
    "FlopCounterMode": by_flop_counter,
    "fvcore": by_fvcore,
    "thop": by_thop,
    "ptflops": by_ptflops,
    "calflops": by_calflops,
    "deepspeed": by_deepspeed,
}
MODULES = {
    "picojoule": "picojoule.flops.torch_ops",
    "FlopCounterMode": "torch.utils.flop_counter",
    "fvcore": "fvcore.nn",
    "deepspeed": "deepspeed.profiling.flops_profiler",
    **{name: name for name in ("thop", "ptflops", "calflops")},
}
#: These look at a forward pass only; a gradient is no question for them.
FORWARD_ONLY = ("fvcore", "thop", "ptflops", "deepspeed")


def verdict(found: float | None, truth: int) -> str:
    """One word for one case."""
    if found is None or math.isnan(found):
        return "unknown"
    if found == truth:
        return "exact"
    if found == 0:
        return "silent 0"
    return "within 10 %" if abs(found - truth) <= 0.1 * truth else "wrong"


def of_tool(tool: str) -> dict[str, float | None]:
    """FLOPs of every case by one tool; None where it fails or does not know."""
    out: dict[str, float | None] = {}
    for name, (module, inputs, _, backward) in cases().items():
        if backward and tool in FORWARD_ONLY:
            continue
        out[name] = _alone(tool, module, inputs, backward)
    return out


def _alone(tool: str, module: nn.Module, inputs: Any, backward: bool) -> float | None:
    """In a forked process, since some tools leave the functions that they patch patched."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                found = float(COUNT[tool](module, inputs, backward))
        except Exception:
            found = math.nan
        os.write(write, repr(found).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        found = float(pipe.read() or "nan")
    os.waitpid(child, 0)
    return None if math.isnan(found) else found


def main() -> None:
    """Count, judge, save, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tool", choices=TOOLS)
    chosen = parser.parse_args()
    if chosen.tool:
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        torch.manual_seed(0)
        torch.set_num_threads(1)  # forked processes have no workers
        importlib.import_module(MODULES[chosen.tool])
        print("RESULT " + json.dumps(of_tool(chosen.tool)))
        return
    from support import save

    truths = {name: truth for name, (_, _, truth, _) in cases().items()}
    tools: dict[str, Any] = {}
    for tool in TOOLS:
        done = subprocess.run(
            [sys.executable, __file__, "--tool", tool], capture_output=True, text=True, check=False
        )
        line = next((x for x in done.stdout.splitlines() if x.startswith("RESULT ")), None)
        if line is None:
            why = (done.stderr.strip().splitlines() or ["?"])[-1]
            tools[tool] = {"absent": why[:200]}
            continue
        found = json.loads(line.removeprefix("RESULT "))
        words = {name: verdict(found[name], truths[name]) for name in found}
        tally = {w: list(words.values()).count(w) for w in sorted(set(words.values()))}
        tools[tool] = {"cases": len(found), "verdicts": tally, "flops": found}
    save("flops", {"torch": torch.__version__, "truth": truths, "tools": tools})
    kinds = ("exact", "within 10 %", "unknown", "silent 0", "wrong")
    print("| tool | cases | " + " | ".join(kinds) + " |\n|---|--:|" + "--:|" * len(kinds))
    for tool, result in tools.items():
        if "absent" in result:
            print(f"| {tool} | not installed: {result['absent']} |")
            continue
        counts = " | ".join(str(result["verdicts"].get(k, 0)) for k in kinds)
        print(f"| {tool} | {result['cases']} | {counts} |")


if __name__ == "__main__":
    main()
