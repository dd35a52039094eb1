"""What a run is known by: its configuration, its code, its devices and its software."""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from picojoule._version import __version__
from picojoule.errors import UsageError

if TYPE_CHECKING:
    from picojoule.results import Profile

_FRAMEWORKS = (
    "numpy", "torch", "jax", "tensorflow", "sklearn", "lightning", "pytorch_lightning",
    "transformers", "keras", "optuna", "xgboost", "lightgbm",
)  # fmt: skip
_UUID = re.compile(r"^(.*?) \(((?:GPU|MIG)-[^)]+)\)$")


def config_hash(config: Any) -> str:
    """16 hex digits that are equal for equal configurations; "" for None.

    Order of keys, tuples for lists and 1.0 for 1 make no difference.

    Raises:
        UsageError: something in it has no JSON form.
    """
    if config is None:
        return ""
    text = json.dumps(_canonical(plain(config)), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def plain(value: Any, where: str = "config") -> Any:
    """``value`` as JSON knows it: mappings, sequences, data classes, name spaces, numpy scalars.

    Raises:
        UsageError: something in it has no JSON form; says where.
    """
    if value is None or isinstance(value, (str, bool, int, float)):
        # Of subclasses (numpy's float64, strings that are enumerations) only the value is kept.
        if isinstance(value, enum.Enum):
            value = value.value
        kinds = (bool, int, float, str)
        return next((kind(value) for kind in kinds if isinstance(value, kind)), None)
    if isinstance(value, enum.Enum):
        return plain(value.value, where)
    if isinstance(value, Mapping):
        return {str(k): plain(v, f"{where}[{k!r}]") for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v, f"{where}[{i}]") for i, v in enumerate(value)]
    if isinstance(value, (set, frozenset)):
        return sorted((plain(v, where) for v in value), key=repr)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            f.name: plain(getattr(value, f.name), f"{where}.{f.name}")
            for f in dataclasses.fields(value)
        }
    if isinstance(value, type) or callable(value):
        name = getattr(value, "__qualname__", "")
        if name:
            return f"{value.__module__}.{name}"
    elif hasattr(value, "tolist"):  # arrays and scalars of numpy and PyTorch
        return plain(value.tolist(), where)
    elif hasattr(value, "__dict__"):  # argparse's name space
        if type(value).__name__ in ("Namespace", "SimpleNamespace"):
            return plain(vars(value), where)
        if hasattr(value, "items"):
            return plain(dict(value.items()), where)
    raise UsageError(
        f"{where} is a {type(value).__name__}, which has no JSON form; give its settings instead"
    )


def _canonical(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _canonical(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_canonical(v) for v in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value


def project_folder(start: str | os.PathLike[str] | None = None) -> Path:
    """The git work tree around ``start`` (default: the current folder), else that folder itself."""
    folder = Path(start or ".").absolute()
    return next((f for f in (folder, *folder.parents) if (f / ".git").exists()), folder)


def git_state() -> tuple[str, bool | None]:
    """(commit, whether files differ from it) of the program's repository; ("", None) outside one.

    The repository is that of the main script, or else of the current folder.
    """
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    for start in (*([Path(main).parent] if main else []), Path()):
        folder = project_folder(start)
        if not (folder / ".git").exists():
            continue
        try:
            commit = _git(folder, "rev-parse", "HEAD")
            changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
        except (OSError, subprocess.SubprocessError):
            continue
        return commit, bool(changed)
    return "", None


def _git(folder: Path, *words: str) -> str:
    # Without optional locks: another git of the user's must never find its index locked by us.
    done = subprocess.run(
        ["git", "--no-optional-locks", "-C", str(folder), *words],
        capture_output=True, text=True, timeout=10, check=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return done.stdout.strip()


def versions() -> dict[str, str]:
    """Versions of Python, picojoule and the frameworks that the program has loaded."""
    out = {"python": ".".join(map(str, sys.version_info[:3])), "picojoule": __version__}
    for name in _FRAMEWORKS:
        version = getattr(sys.modules.get(name), "__version__", None)
        if version is not None:
            out[name] = str(version)
    return out


def measured(profile: Profile) -> dict[str, Any]:
    """What a profile says of its run, as fields of ``model.Run``.

    The range of the energy includes the uncertainty of the meters' absolute scale.
    """
    energy = profile.total
    low, high = energy.interval(0.95, absolute=True)
    flops, provenance = profile.flops.model, "modelled"
    if math.isnan(flops):
        flops, provenance = profile.flops.executed, "counted"
    return {
        "duration_s": profile.duration_s,
        "energy_j": energy.joules,
        "energy_low_j": low,
        "energy_high_j": high,
        "energy_provenance": energy.provenance,
        "energy_basis": energy.basis,
        "domain_j": {name: e.joules for name, e in profile.energy.items()},
        "flops": flops,
        "flops_provenance": "estimated" if math.isnan(flops) else provenance,
        **_devices(profile),
    }


def _devices(profile: Profile) -> dict[str, Any]:
    """The accelerators that ran kernels, else all that the program sees, else the machine's CPU."""
    boards = {c.domain: c.device for c in profile.channels if c.domain.startswith("gpu:")}
    boards = {d: name for d, name in boards.items() if "/" not in d}
    busy = {k.domain for k in profile.kernels} & boards.keys()
    named = [_UUID.match(boards[d]) or (boards[d],) for d in boards if not busy or d in busy]
    if not named:
        cpu = str(profile.meta.get("cpu", ""))
        return {"devices": [cpu] if cpu else [], "device_count": 1.0, "device_name": cpu}
    names = dict.fromkeys(m[1] if isinstance(m, re.Match) else m[0] for m in named)
    return {
        "devices": [m[2] if isinstance(m, re.Match) else m[0] for m in named],
        "device_count": float(len(named)),
        "device_name": ", ".join(names),
    }
