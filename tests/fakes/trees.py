"""Fake /sys and /proc trees of CPU meters, for tests that set PICOJOULE_SYSFS and PICOJOULE_PROCFS.

Each helper writes into ``root`` (a directory) and returns a handle whose ``set`` rewrites a value
while it is being read: files keep their identity, so descriptors that are open see the new value.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

RAPL_RANGE_UJ = 262_143_328_850  # 2**32 counts of 61 uJ, as Intel kernels report it


def write(path: Path, text: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    # One write of the whole value: a reader sees the old one or the new one, never half of it.
    data = f"{text}\n".encode()
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        size = os.fstat(fd).st_size
        os.pwrite(fd, data.ljust(size, b"\n"), 0)
    finally:
        os.close(fd)
    return path


@dataclass
class Counters:
    """Values by name, each in a file of its own."""

    files: dict[str, Path] = field(default_factory=dict)

    def set(self, name: str, value: int) -> None:
        write(self.files[name], value)

    def get(self, name: str) -> int:
        return int(self.files[name].read_text())

    def add(self, name: str, value: int, wrap_at: int = 0) -> None:
        total = self.get(name) + value
        self.set(name, total % wrap_at if wrap_at else total)

    def close(self, name: str) -> None:
        """What PLATYPUS left: readable by the owner only."""
        self.files[name].chmod(0o400)

    def lose(self, name: str) -> None:
        """A dangling link: unreadable for root, too."""
        path = self.files[name]
        path.unlink()
        path.symlink_to("nowhere")


def powercap(
    root: Path,
    packages: int = 1,
    subzones: tuple[str, ...] = ("core", "dram"),
    psys: bool = False,
    dies: int = 1,
    range_uj: int = RAPL_RANGE_UJ,
) -> Counters:
    """``class/powercap``; names are "package-0", "package-0/dram", "psys"."""
    tree = root / "class" / "powercap"
    counters = Counters()
    write(tree / "intel-rapl" / "enabled", 1)

    def zone(entry: str, name: str, key: str) -> None:
        write(tree / entry / "name", name)
        write(tree / entry / "max_energy_range_uj", range_uj)
        counters.files[key] = write(tree / entry / "energy_uj", 0)

    number = 0
    for package in range(packages):
        for die in range(dies):
            name = f"package-{package}" if dies == 1 else f"package-{package}-die-{die}"
            zone(f"intel-rapl:{number}", name, name)
            for i, sub in enumerate(subzones):
                zone(f"intel-rapl:{number}:{i}", sub, f"{name}/{sub}")
            number += 1
    if psys:
        zone(f"intel-rapl:{number}", "psys", "psys")
    return counters


def power_pmu(
    root: Path,
    events: tuple[str, ...] = ("pkg", "ram"),
    pmu_type: int = 1,
    event: int = 0,
    scale: float = 1e-9,
    cpumask: str = "0",
) -> None:
    """The PMU "power". Type 1, event 0 is the kernel's CPU clock: it counts as a real one would."""
    pmu = root / "bus" / "event_source" / "devices" / "power"
    write(pmu / "type", pmu_type)
    write(pmu / "cpumask", cpumask)
    for name in events:
        write(pmu / "events" / f"energy-{name}", f"event=0x{event:02x}")
        write(pmu / "events" / f"energy-{name}.scale", f"{scale!r}")
        write(pmu / "events" / f"energy-{name}.unit", "Joules")


def hwmon(root: Path, number: int, name: str, sensors: dict[str, tuple[str, int]]) -> Counters:
    """One chip. ``sensors``: {"energy1_input": ("Esocket0", 0), "power1_average": ("PPT", 5)}."""
    chip = root / "class" / "hwmon" / f"hwmon{number}"
    write(chip / "name", name)
    counters = Counters()
    for file, (label, value) in sensors.items():
        counters.files[file] = write(chip / file, value)
        if label:
            write(chip / f"{file.partition('_')[0]}_label", label)
    return counters


def grace_meter(
    root: Path, number: int, info: str, microwatts: int, interval_ms: int = 50
) -> Counters:
    """ACPI's power_meter as NVIDIA Grace has it: its files lie in ``device``."""
    device = root / "class" / "hwmon" / f"hwmon{number}" / "device"
    write(device / "name", "power_meter")
    write(device / "power1_average_interval", interval_ms)
    write(device / "power1_oem_info", info)
    return Counters({info: write(device / "power1_average", microwatts)})


def process(
    procfs: Path,
    pid: int,
    ppid: int,
    ticks: int,
    children: tuple[int, ...] | None = None,
    start: int = 1,
) -> None:
    """A process in a fake /proc; ``children`` writes the kernel's list of them, where it has one."""  # noqa: E501
    fields = ["S", ppid, 1, 1, 0, -1, 0, 1, 2, 3, 4, ticks, 0, 0, 0, 20, 0, 1, 0, start, 1000, 10]
    write(procfs / str(pid) / "stat", f"{pid} (fake) " + " ".join(map(str, fields)))
    if children is not None:
        write(procfs / str(pid) / "task" / str(pid) / "children", " ".join(map(str, children)))
