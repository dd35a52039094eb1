"""Products that cuBLAS logs: what a message tells, and how it becomes FLOPs of a region."""

from __future__ import annotations

import ctypes
import math
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import picojoule as pj
from picojoule.flops import cublas_log

FAKE = Path(__file__).parents[2] / "fakes" / "fake_cublaslt.c"


def message(a, b, d, compute="computeType=COMPUTE_32F scaleType=R_32F"):
    return (
        f"A=0X7F8EB6002300 Adesc=[{a}] B=0X7F8EB6001B00 Bdesc=[{b}] C=0X0 Cdesc=[{d}] "
        f"D=0X7F8EB6003200 Ddesc=[{d}] computeDesc=[{compute}] algo=[algoId=21 "
        "tile=MATMUL_TILE_32x32] workSpace=0X0 workSpaceSizeInBytes=0 beta=? stream=0X7EB04D0"
    )


HALF = message(
    "type=R_16F rows=32 cols=16 ld=32", "type=R_16F rows=16 cols=64 ld=16",
    "type=R_16F rows=32 cols=64 ld=32",
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "flops", "type_", "moved"),
    [
        (HALF, 2 * 32 * 64 * 16, "tensor-fp16", 2 * (32 * 16 + 16 * 64 + 32 * 64)),
        (  # A transposed: its rows are what is summed over
            message(
                "type=R_8F_E4M3 rows=1024 cols=2048 ld=1024",
                "type=R_8F_E4M3 rows=1024 cols=32 ld=1024",
                "type=R_16BF rows=2048 cols=32 ld=2048",
                "computeType=COMPUTE_32F scaleType=R_32F transa=OP_T aScalePointer=0x32ee30200",
            ),
            2 * 2048 * 32 * 1024,
            "tensor-fp8",
            1024 * 2048 + 1024 * 32 + 2 * 2048 * 32,
        ),
        (
            message(
                "type=R_32F rows=8 cols=4 ld=8 batchCount=5 stridedBatchOffset=32",
                "type=R_32F rows=4 cols=6 ld=4 batchCount=5 stridedBatchOffset=24",
                "type=R_32F rows=8 cols=6 ld=8 batchCount=5 stridedBatchOffset=48",
                "computeType=COMPUTE_32F_FAST_TF32 scaleType=R_32F",
            ),
            5 * 2 * 8 * 6 * 4,
            "tensor-tf32",
            5 * 4 * (32 + 24 + 48),
        ),
        (
            message(
                "type=C_64F rows=3 cols=3 ld=3", "type=C_64F rows=3 cols=3 ld=3",
                "type=C_64F rows=3 cols=3 ld=3", "computeType=COMPUTE_64F scaleType=C_64F",
            ),
            8 * 27,
            "fp64",
            16 * 27,
        ),
    ],
)  # fmt: skip
def test_a_message_tells_the_product(text, flops, type_, moved):
    _, cost = cublas_log.cost_of(text)
    assert (cost.flops, cost.type, cost.bytes) == (flops, type_, moved)
    assert cost.source == "cublas"


@pytest.mark.parametrize("text", ["", "Adesc=[type=R_16F]", HALF.replace("rows=32", "rows=many")])
def test_a_message_of_another_form_is_unknown_not_zero(text):
    _, cost = cublas_log.cost_of(text)
    assert math.isnan(cost.flops) and math.isnan(cost.bytes)


@pytest.fixture(scope="module")
def cublas(tmp_path_factory):
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("no C compiler")
    target = tmp_path_factory.mktemp("cublas") / "libcublasLt.so.13"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", target, FAKE], check=True)
    return ctypes.CDLL(str(target))


def run(library, times=1, function=b"cublasLtMatmul", text=HALF):
    for _ in range(times):
        library.fake_cublaslt_run(function, text.encode())


ONCE = 2 * 32 * 64 * 16


def test_products_of_others_count_for_their_regions(cublas):
    with pj.profile(sources=["cpu_estimate"]) as prof:
        for i in range(10):
            with pj.region("step"):
                if i == 2:
                    with pj.count_flops() as window:
                        run(cublas, 3)
                        run(cublas, function=b"cublasLtMatmulDescCreate", text="matmulDesc=0x1")
                else:
                    run(cublas, 3)
    assert window.flops == 3 * ONCE
    assert prof.flops.model == 10 * 3 * ONCE
    assert prof.flops.by_type == {"tensor-fp16": 10 * 3 * ONCE}
    assert prof.flops.sources == ("cublas",) and "cuBLAS logged" in str(prof)


def test_what_an_operation_of_pytorch_runs_is_counted_once(cublas):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")

    def by_cublas(x):
        run(cublas)
        return x.clone()

    by_cublas.__annotations__ = {"x": torch.Tensor, "return": torch.Tensor}
    by_cublas = torch.library.custom_op("picojoule_test::by_cublas", by_cublas, mutates_args=())

    with pj.count_flops() as window:
        by_cublas(torch.ones(2))
        run(cublas)
    products = [r for r in window.window.rows if r.op == "cublas.matmul"]
    assert [r.calls for r in products] == [1]


def test_the_log_is_off_again_and_nested_windows_do_not_mind(cublas):
    assert not cublas.fake_cublaslt_listened()
    with pj.count_flops() as outer:
        run(cublas)
        with pj.count_flops() as inner:
            run(cublas)
        run(cublas)
        assert cublas.fake_cublaslt_level() == 2
    assert (outer.flops, inner.flops) == (2 * ONCE, ONCE)
    assert not cublas.fake_cublaslt_listened() and cublas.fake_cublaslt_level() == 0


def test_a_log_of_the_users_own_is_left_alone(cublas, monkeypatch):
    monkeypatch.setenv("CUBLASLT_LOG_LEVEL", "5")
    with cublas_log.looking(lambda *_: None) as why:
        assert why.startswith("CUBLASLT_LOG_LEVEL") and not cublas.fake_cublaslt_listened()


def test_without_cublas_nothing_happens(monkeypatch):
    monkeypatch.setattr(cublas_log, "loaded", list)
    with cublas_log.looking(lambda *_: None) as why:
        assert why == "cuBLAS is not loaded"
