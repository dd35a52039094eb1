"""Bytes a row of the raw kernel stream in Parquet, and how long writing it takes.

The stream is synthetic: a million runs of 240 kernels in 60 regions on 3 streams, in an order that
repeats as training steps do, with times that scatter by nanoseconds as a device's clock does. The
bar is 25 bytes a row. Needs pyarrow (``pip install '.[parquet]'``).
"""

from __future__ import annotations

import argparse
import io
import time

import numpy as np
import pyarrow
import pyarrow.parquet as pq
from support import save

from picojoule.kernels import Kernel, KernelTable, no_runs
from picojoule.reports import parquet
from picojoule.results import UNKNOWN, Estimate, Profile, RegionTable

BEGIN_NS = 86_400_000_000_000  # a machine that has been up for a day


def made(count: int, odd: float) -> Profile:
    """A profile with ``count`` runs: steps that launch each kernel once; ``odd`` are random."""
    rng = np.random.default_rng(0)
    shapes = rng.integers(1, 512, (240, 2))
    mean_ns = np.exp(rng.uniform(np.log(2e3), np.log(5e5), 240))
    kind = np.tile(np.arange(240), count // 240 + 1)[:count]
    swap = rng.random(count) < odd
    kind[swap] = rng.integers(0, 240, int(swap.sum()))
    took = np.maximum(500, rng.normal(mean_ns[kind], 0.03 * mean_ns[kind])).astype("i8")
    gap = rng.gamma(2.0, 800.0, count).astype("i8")
    stream = kind % 3
    runs = no_runs(count)
    for lane in range(3):
        mine = np.flatnonzero(stream == lane)
        ends = np.cumsum(took[mine] + gap[mine])
        runs["begin_ns"][mine] = BEGIN_NS + ends - took[mine]
        runs["end_ns"][mine] = BEGIN_NS + ends
    runs["kernel"] = kind
    runs["graph_node"] = np.where(kind % 4 == 0, kind + 1000, 0)
    runs = runs[np.argsort(runs["begin_ns"], kind="stable")]
    joules = rng.uniform(1, 500, 240)
    joules = np.sort(joules)[::-1]  # a table sorts by energy, and runs name its positions
    kernels = [
        Kernel(
            name=f"void at::native::kernel_{i}<{shapes[i][0]}, float>(int, float*, float const*)",
            kind="kernel",
            region=("train", f"layer {i // 4}", "forward" if i % 2 else "backward"),
            domain="gpu:0",
            stream=int(7 + i % 3),
            grid=(int(shapes[i][0]), int(shapes[i][1]), 1),
            block=(128, 1, 1),
            calls=int(np.sum(kind == i)),
            time_s=float(took[kind == i].sum() * 1e-9),
            least_s=1e-6,
            most_s=1e-3,
            energy=Estimate(float(joules[i]), 1.0, "modelled", basis="made up"),
        )
        for i in range(240)
    ]
    return Profile(
        name="synthetic", begin_ns=BEGIN_NS, end_ns=int(runs["end_ns"].max()), channels=(),
        energy={}, counted=(), total=UNKNOWN, regions=RegionTable(()), readings=np.zeros(0),
        spans=np.zeros(0), paths=((),), power=(), kernels=KernelTable(kernels, (), runs),
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=1_000_000)
    args = parser.parse_args()
    profile = made(args.runs, 0.02)
    begin = time.perf_counter()
    content = parquet.render_runs(profile)
    seconds = time.perf_counter() - begin
    file = pq.ParquetFile(io.BytesIO(content))
    columns = dict.fromkeys(file.schema_arrow.names, 0)
    for group in range(file.metadata.num_row_groups):
        for at in range(file.metadata.num_columns):
            column = file.metadata.row_group(group).column(at)
            columns[column.path_in_schema] += column.total_compressed_size
    table = file.read()
    assert (
        table.column("begin_ns").to_numpy()[-1] == profile.kernels.runs["begin_ns"][-1] - BEGIN_NS
    )
    shared = (
        table.column("watts").to_numpy() * table.column("duration_ns").to_numpy()
    ).sum() * 1e-9
    random = parquet.render_runs(made(args.runs, 1.0))
    plain = io.BytesIO()
    pq.write_table(table, plain, compression="none", use_dictionary=False)
    save(
        "kernel_parquet",
        {
            "runs": args.runs,
            "stream": "synthetic: 240 kernels, 60 regions, 3 streams, times scatter by 3 %",
            "pyarrow": pyarrow.__version__,
            "bytes_a_row": round(len(content) / args.runs, 2),
            "bytes_a_row_random_order": round(len(random) / args.runs, 2),
            "bytes_a_row_bar": 25,
            "bytes_a_row_by_column": {n: round(b / args.runs, 2) for n, b in columns.items()},
            "bytes_a_row_plain_uncompressed": round(len(plain.getvalue()) / args.runs, 1),
            "seconds_to_write": round(seconds, 2),
            "joules_shared_over_all": round(shared / profile.kernels.energy_j, 9),
        },
    )


if __name__ == "__main__":
    main()
