"""Records kineto_cpu.json.gz: a small training loop under torch.profiler on the CPU.

python tests/data/imported/make_kineto.py        (needs torch; made with the CPU build 2.13)
"""

import gzip
import json
import tempfile
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile, record_function

HERE = Path(__file__).parent
# The rest (host names, environment, package versions) says nothing that an importer reads.
KEPT = (
    "schemaVersion",
    "deviceProperties",
    "traceEvents",
    "baseTimeNanoseconds",
    "displayTimeUnit",
)


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = torch.nn.Sequential(torch.nn.Linear(16, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x = torch.randn(8, 16)
    with profile(activities=[ProfilerActivity.CPU]) as prof:
        for step in range(3):
            with record_function(f"step_{step}"):
                with record_function("forward"):
                    loss = model(x).square().mean()
                with record_function("backward"):
                    loss.backward()
                with record_function("optimizer"):
                    optimizer.step()
                    optimizer.zero_grad()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        prof.export_chrome_trace(str(path))
        trace = json.loads(path.read_text())
    print("dropped keys:", sorted(set(trace) - set(KEPT)))
    text = json.dumps({key: trace[key] for key in KEPT if key in trace})
    (HERE / "kineto_cpu.json.gz").write_bytes(gzip.compress(text.encode(), mtime=0))


if __name__ == "__main__":
    main()
