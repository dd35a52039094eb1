"""Real models, written out, that validation measures on; PyTorch only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

F = torch.nn.functional
Step = Callable[[], Any]


class Block(nn.Module):
    """A decoder block."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, s, w = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, s, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(b, s, w))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Decoder(nn.Module):
    """GPT-2 (small: 12 layers of 768)."""

    def __init__(self, layers: int, width: int, heads: int, vocabulary: int, length: int) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.tokens(ids) + self.places(torch.arange(ids.shape[1], device=ids.device))
        for block in self.blocks:
            x = block(x)
        return self.norm(x) @ self.tokens.weight.t()


class Bottleneck(nn.Module):
    """A residual block of ResNet-50 (v1.5: the stride is in the 3x3)."""

    def __init__(self, inner: int, outer: int, stride: int, into: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(into, inner, 1, bias=False), nn.BatchNorm2d(inner), nn.ReLU(True),
            nn.Conv2d(inner, inner, 3, stride, 1, bias=False), nn.BatchNorm2d(inner), nn.ReLU(True),
            nn.Conv2d(inner, outer, 1, bias=False), nn.BatchNorm2d(outer),
        )  # fmt: skip
        self.side = (
            nn.Sequential(nn.Conv2d(into, outer, 1, stride, bias=False), nn.BatchNorm2d(outer))
            if stride > 1 or into != outer
            else nn.Identity()
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.body(x) + self.side(x))


def resnet50() -> nn.Module:
    """ResNet-50: 25.6 million weights."""
    layers: list[nn.Module] = [
        nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(True),
        nn.MaxPool2d(3, 2, 1),
    ]  # fmt: skip
    into = 64
    for inner, count, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for i in range(count):
            layers.append(Bottleneck(inner, 4 * inner, stride if i == 0 else 1, into))
            into = 4 * inner
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000))


def gpt2_step(device: str, *, small: bool = False, compiled: bool = False) -> Step:
    """One training step of GPT-2: forward, backward, AdamW, each in a region."""
    import picojoule as pj

    layers, width, heads, length, batch = (2, 64, 2, 32, 2) if small else (12, 768, 12, 1024, 8)
    vocabulary = 512 if small else 50257
    model = Decoder(layers, width, heads, vocabulary, length).to(device)
    run = torch.compile(model) if compiled else model
    fused = device == "cuda"
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=fused)
    ids = torch.randint(vocabulary, (batch, length), device=device)

    def step() -> Any:
        with pj.region("step"):
            with pj.region("forward"), torch.autocast(device, torch.bfloat16, enabled=fused):
                logits = run(ids)
                loss = F.cross_entropy(logits.flatten(0, 1).float(), ids.flatten())
            with pj.region("backward"):
                loss.backward()
            with pj.region("update"):
                optimiser.step()
                optimiser.zero_grad(set_to_none=True)
        return loss

    return step


def resnet_step(device: str, *, small: bool = False) -> Step:
    """One training step of ResNet-50."""
    import picojoule as pj

    model = resnet50().to(device, memory_format=torch.channels_last)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    side, batch = (32, 2) if small else (224, 64)
    images = torch.randn(batch, 3, side, side, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(1000, (batch,), device=device)

    def step() -> Any:
        with pj.region("step"):
            with (
                pj.region("forward"),
                torch.autocast(device, torch.bfloat16, enabled=device == "cuda"),
            ):
                loss = F.cross_entropy(model(images).float(), labels)
            with pj.region("backward"):
                loss.backward()
            with pj.region("update"):
                optimiser.step()
                optimiser.zero_grad(set_to_none=True)
        return loss

    return step


def decode_step(device: str, *, small: bool = False) -> Step:
    """One token of a decoder at batch 8, replayed from a CUDA graph where there is CUDA."""
    import picojoule as pj

    layers, width, heads = (2, 64, 2) if small else (16, 2048, 16)
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    model = Decoder(layers, width, heads, 512 if small else 32000, 128).to(device, dtype).eval()
    ids = torch.randint(500, (8, 1), device=device)
    if device != "cuda":

        def eager() -> Any:
            with pj.region("decode"), torch.no_grad():
                return model(ids)

        return eager
    with torch.no_grad():
        for _ in range(3):
            model(ids)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph), pj.region("captured"):
            out = model(ids)

    def replay() -> Any:
        with pj.region("decode"):
            graph.replay()
        return out

    return replay


def storm(device: str, launches: int = 1000) -> Step:
    """Tiny kernels, as fast as the host can launch them."""
    import picojoule as pj

    x = torch.zeros(32, device=device)

    def step() -> Any:
        with pj.region("storm"):
            for _ in range(launches):
                x.add_(1)
        return x

    return step
