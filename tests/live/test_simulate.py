"""The whole recorder against a simulated meter, in real time, with its true energy known."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

MEASURE = """
from picojoule import simulate
source = {source!r}
with pj.profile(sources=source) as prof:
    time.sleep(1.7)
found = prof.result
truth = float(simulate.live(source).energy(found.begin_ns, found.end_ns))
(channel,) = found.channels
domain = channel.domain
say(gpu=doubt(truth, found.energy[domain]), provenance=found.total.provenance, domain=domain,
    basis=found.total.basis, table=str(prof), warnings=found.warnings, gaps=len(found.gaps))
"""

SOURCES = [
    "simulate:nvml_energy,workload=steps,step_s=0.3",
    "simulate:nvml_energy,workload=square,period_s=0.73,jitter_s=0.0005",
    "simulate:nvml_energy,workload=constant,watts=123,seed=3,latency_s=0.0002",
    "simulate:rapl,workload=constant,domain=cpu:0/package",
    "simulate:mi300_energy,workload=constant,watts=400",
    "simulate:ga10x_ad10x_instant,workload=constant,noise_w=0.01",
    "simulate:ga10x_ad10x_instant,workload=steps,step_s=0.5",
]


@pytest.mark.parametrize("source", SOURCES)
def test_the_recorder_finds_the_true_joules(scenario, source):
    said = scenario(MEASURE.format(source=source))
    gpu = said.gpu
    assert gpu["low"] <= gpu["truth"] <= gpu["high"], gpu
    # On a machine as busy as can be ticks are missed; what is found is still near.
    assert gpu["joules"] == pytest.approx(gpu["truth"], rel=0.1)
    assert said.provenance == "simulated" and "simulated, not measured" in said.basis
    assert said.gaps == 0


def test_stalled_looks_leave_the_sum_right(scenario):
    source = "simulate:nvml_energy,workload=steps,step_s=0.4,stalled=0.02"
    gpu = scenario(MEASURE.format(source=source)).gpu
    assert gpu["low"] <= gpu["truth"] <= gpu["high"], gpu


def test_a_wrapping_register_is_followed(scenario):
    # At 300 W it rolls over every third of a second, which a reader of 50 ms ticks can follow.
    source = "simulate:nvml_energy,workload=constant,watts=300,wrap_at=100000,period_s=0.05"
    gpu = scenario(MEASURE.format(source=source)).gpu
    assert gpu["low"] <= gpu["truth"] <= gpu["high"], gpu
    assert gpu["truth"] > 450


def test_simulated_stands_on_every_view_and_beside_others_taints_the_sum(scenario):
    said = scenario(
        """
        from pathlib import Path
        from picojoule.reports import json_
        with pj.profile(sources=["cpu_estimate", "simulate:nvml_energy"]) as prof:
            time.sleep(0.4)
        prof.report("report.html")
        html = Path("report.html").read_text(encoding="utf-8")
        say(total=prof.total.provenance, table=str(prof), html="badge simulated" in html,
            json=json.loads(json_.render(prof.result)),
            each={d: e.provenance for d, e in prof.energy.items()})
        """
    )
    assert said.each == {"cpu": "estimated", "gpu:0": "simulated"}
    assert said.total == "simulated"
    assert "part simulated" in said.table and "measured" not in said.table
    assert said.html
    assert "simulated" in json.dumps(said.json)


def test_picojoule_run_takes_a_simulated_source(tmp_path):
    script = tmp_path / "job.py"
    script.write_text("import time\ntime.sleep(0.6)\n", encoding="utf-8")
    done = subprocess.run(
        [
            sys.executable, "-m", "picojoule", "run",
            "--sources", "simulate:nvml_energy,workload=constant,watts=200",
            str(script),
        ],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    power = re.search(r"power +([\d.]+) W", done.stderr)
    assert power is not None and float(power[1]) == pytest.approx(200, rel=0.1)
    assert "simulated" in done.stderr and "measured" not in done.stderr


def test_the_first_value_of_a_fast_counter_may_be_a_period_old(scenario):
    said = scenario(
        """
        from picojoule import _trace
        source = "simulate:rapl,workload=constant,domain=cpu:0/package"
        with pj.profile(sources=source, output="run.pj"):
            time.sleep(0.2)
        trace = _trace.read("run.pj")
        first = trace.ticks[0]
        say(age_ns=int(first["a"] - first["b"]),
            period_ns=trace.channels[0]["update_period_ns"])
        """
    )
    assert said.age_ns >= said.period_ns > 0
