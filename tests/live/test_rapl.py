"""CPU counters, end to end: a kernel's tree of files that a thread keeps advancing."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import pytest
import trees

RANGE_UJ = 60_000_000  # wraps after 60 J

MEASURE = f"""
sys.path.insert(0, {str(Path(trees.__file__).parent)!r})
from pathlib import Path
import trees

PACKAGE_W, DRAM_W, RANGE = 40.0, 5.0, {RANGE_UJ}
counters = trees.powercap(Path(os.environ["PICOJOULE_SYSFS"]), range_uj=RANGE - 1)
begun = time.monotonic_ns()
start_uj = {{start_uj}}
stop = threading.Event()

def uj(watts, at_ns):
    return start_uj + int(watts * (at_ns - begun) * 1e-3)

def advance():
    while not stop.is_set():
        now = time.monotonic_ns()
        counters.set("package-0", uj(PACKAGE_W, now) % RANGE)
        counters.set("package-0/core", uj(PACKAGE_W / 2, now) % RANGE)
        counters.set("package-0/dram", uj(DRAM_W, now) % RANGE)
        time.sleep(0.001)

thread = threading.Thread(target=advance, daemon=True)
thread.start()
time.sleep(0.1)
with pj.profile(sources=["rapl"]) as prof:
    time.sleep(1.2)
energy = {{{{d: e.joules for d, e in prof.energy.items()}}}}
stop.set()
thread.join()
say(energy=energy, duration_s=prof.duration_s, total=prof.energy_j, counted=prof.result.counted,
    provenance=prof.total.provenance, warnings=prof.warnings,
    wraps=prof.overhead["counter_wraps"], resets=prof.overhead["counter_resets"])
"""


@pytest.mark.parametrize(("start_uj", "wraps"), [(0, False), (RANGE_UJ - 25_000_000, True)])
def test_energy_is_the_true_one(scenario, tmp_path, start_uj, wraps):
    said = scenario(MEASURE.format(start_uj=start_uj), PICOJOULE_SYSFS=str(tmp_path / "sys"))
    package, dram = said.energy["cpu:0/package"], said.energy["cpu:0/dram"]
    # A thread plays the kernel's part: how late it is, no one knows.
    assert package == pytest.approx(40.0 * said.duration_s, rel=0.1)
    assert dram == pytest.approx(5.0 * said.duration_s, rel=0.1)
    assert said.energy["cpu:0/core"] == pytest.approx(20.0 * said.duration_s, rel=0.1)
    assert sorted(said.counted) == ["cpu:0/dram", "cpu:0/package"]  # core lies in package
    assert said.total == pytest.approx(package + dram, rel=1e-9)
    assert said.provenance == "measured"
    assert said.resets == 0 and (said.wraps >= 1) == wraps
    assert said.warnings == []


STILL = f"""
sys.path.insert(0, {str(Path(trees.__file__).parent)!r})
from pathlib import Path
import trees

trees.powercap(Path(os.environ["PICOJOULE_SYSFS"]), range_uj={RANGE_UJ - 1})
with pj.profile(sources=["rapl"], rate_hz=200) as prof:
    time.sleep(0.5)
say(duplicates=prof.overhead["duplicates"], polls=prof.overhead["polls"], joules=prof.energy_j,
    gaps=len(prof.result.gaps), readings=len(prof.readings))
"""


def test_a_counter_that_stands_still_is_noted_as_such(scenario, tmp_path):
    said = scenario(STILL, PICOJOULE_SYSFS=str(tmp_path / "sys"))
    assert said.readings > 0
    assert said.duplicates > 0  # the same value again, at each look after the first
    assert said.joules == 0.0  # which a counter may well say; it is no gap
    assert said.gaps == 0


def powerless() -> None:
    """From here on, root minds the permissions of files as anyone else does."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        if prctl(24, capability, 0, 0, 0) != 0:  # PR_CAPBSET_DROP
            raise OSError(ctypes.get_errno(), "PR_CAPBSET_DROP")


REFUSED = """
meter, = [m for m in pj.doctor().to_dict()["meters"] if m["meter"] == "rapl"]
try:
    with pj.profile(sources=["rapl"]):
        pass
except pj.NoMeterError as error:
    say(words=str(error))
with pj.profile() as prof:
    sum(range(1_000_000))
say(findings=meter["findings"], channels=len(meter["channels"]),
    fallback={d: e.provenance for d, e in prof.energy.items()})
"""


def test_counters_for_root_only_are_refused_with_a_remedy(scenario, tmp_path):
    counters = trees.powercap(tmp_path / "sys")
    for file in counters.files.values():
        file.chmod(0)
    said = scenario(
        REFUSED,
        preexec_fn=powerless if os.geteuid() == 0 else None,
        PICOJOULE_SYSFS=str(tmp_path / "sys"),
    )
    (finding,) = said.findings
    assert finding["state"] == "refused" and said.channels == 0
    assert "root only" in finding["why"] and "2 more" in finding["why"]
    assert finding["remedy"].startswith("sudo chmod a+r /sys/class/powercap/")
    assert finding["remedy"] in said.words
    assert said.fallback == {"cpu": "estimated"}


def test_no_tree_is_absent(scenario, tmp_path):
    (tmp_path / "sys").mkdir()
    said = scenario(REFUSED, PICOJOULE_SYSFS=str(tmp_path / "sys"))
    (finding,) = said.findings
    assert finding["state"] == "absent" and "virtual machine" in finding["why"]
    assert "rapl" in said.words
