"""What the formats share: rows with their line, numbers, times, and what comes out."""

from __future__ import annotations

import csv
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from picojoule.errors import UsageError
from picojoule.green import keys, rows
from picojoule.green.model import Run
from picojoule.green.quantities import quantity


@dataclass(frozen=True, slots=True)
class Options:
    """What the file does not say.

    Attributes:
        study: which study the runs are of.
        role: what they were for.
        scores: names of columns that are scores; for tables that do not tell them apart.
        energy: "COLUMN:UNIT" that holds a run's energy ("energy:kWh"); "".
        power: mean power of one device, "300 W" or "200-400 W", to model an unknown energy; "".
        device: name of the hardware, where the file names none; "".
        device_count: devices of each run, where the file has no count; nan.
        region: where they ran, where the file does not say; "".
    """

    study: str
    role: str = "tune"
    scores: tuple[str, ...] = ()
    energy: str = ""
    power: str = ""
    device: str = ""
    device_count: float = math.nan
    region: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of a file: (line, column -> value)."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[int, Mapping[str, Any]], ...]


@dataclass(slots=True)
class Runs:
    """Runs, and what was left out.

    Attributes:
        runs: as they go into a ledger.
        complaints: a sentence for each row that could not be read, with its line.
        notes: what a reader of the figures must know.
    """

    path: Path
    tool: str
    options: Options
    runs: list[Run] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @contextmanager
    def row(self, line: int) -> Iterator[None]:
        """What goes wrong inside is the row's fault, and leaves out that row only."""
        try:
            yield
        except (UsageError, ValueError, KeyError, TypeError, AttributeError) as error:
            what = f"no column {error}" if isinstance(error, KeyError) else str(error)
            self.complaints.append(f"{self.path}:{line}: {what}; left out")

    def add(self, own_id: str, **fields: Any) -> None:
        """One run, checked; ``own_id`` is the tool's name for it, unique there."""
        options = self.options
        fields = {
            "uid": hashlib.sha256(f"{self.tool} {own_id}".encode()).hexdigest()[:32],
            "study": options.study,
            "role": options.role,
            "origin": f"{self.tool}, {self.path.name}",
            **fields,
        }
        fields["device_name"] = fields.get("device_name") or options.device
        fields["region"] = fields.get("region") or options.region
        if math.isnan(fields.get("device_count", math.nan)):
            fields["device_count"] = options.device_count
        fields["config_hash"] = keys.config_hash(fields.get("config"))
        run = _modelled(Run(**fields), options.power)
        rows.check(rows.row_of(run))
        self.runs.append(run)


def _modelled(run: Run, power: str) -> Run:
    """An unknown energy as hours times power, if that was told."""
    if not power or not math.isnan(run.energy_j):
        return run
    if math.isnan(run.device_seconds):
        return replace(run, energy_basis="unknown: no time or no number of devices for a model")
    low, middle, high = power_range(power)
    return replace(
        run,
        energy_j=run.device_seconds * middle,
        energy_low_j=run.device_seconds * low,
        energy_high_j=run.device_seconds * high,
        energy_provenance="modelled",
        energy_basis=f"device-hours x {power}, as told; no meter",
    )


def power_range(text: str) -> tuple[float, float, float]:
    """(low, middle, high) in watts of "300 W" or "200-400 W".

    Raises:
        UsageError: it is no power, or not a range.
    """
    first, dash, last = text.partition("-")
    high = quantity(last if dash else first, "W").to("W")
    unit = text.rstrip().rpartition(" ")[2] if dash else ""
    low = quantity(f"{first.strip()} {unit}", "W").to("W") if dash else high
    if not 0.0 < low <= high:
        raise UsageError(f"{text!r} is no power; write '300 W' or '200-400 W'")
    return low, (low + high) / 2.0, high


def read_table(path: Path) -> Table:
    """A file with a header: CSV, '|' or tabs between; or JSON, a list of objects.

    Raises:
        UsageError: it is neither.
        OSError: it cannot be read.
    """
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    if text.lstrip().startswith(("[", "{")):
        return _json_table(path, text)
    header = text.partition("\n")[0]
    delimiter = max(",|\t;", key=header.count)
    reader = csv.reader(text.splitlines(keepends=True), delimiter=delimiter)
    found: list[tuple[int, Mapping[str, Any]]] = []
    columns = tuple(name.strip() for name in next(reader, []))
    if len([c for c in columns if c]) < 2:
        raise UsageError(f"{path} is no table with a line of column names")
    line = reader.line_num + 1
    for values in reader:
        if values:
            found.append((line, _row(columns, values)))
        line = reader.line_num + 1
    return Table(path, columns, tuple(found))


def _row(columns: tuple[str, ...], values: list[str]) -> Mapping[str, Any]:
    # A row that is too short or too long lacks its columns, which the format then names.
    if len(values) not in (len(columns), len(columns) + 1):
        return {"": f"{len(values)} values for {len(columns)} columns"}
    return dict(zip(columns, (v.strip() for v in values), strict=False))


def _json_table(path: Path, text: str) -> Table:
    try:
        known = json.loads(text)
    except ValueError as error:
        lines = [line for line in text.splitlines() if line.strip()]
        try:
            known = [json.loads(line) for line in lines]
        except ValueError:
            raise UsageError(f"{path} is no JSON ({error})") from None
    if isinstance(known, dict):
        known = known.get("runs", [known])
    if not isinstance(known, list) or not all(isinstance(row, dict) for row in known):
        raise UsageError(f"{path} is no list of runs")
    columns = dict.fromkeys(name for row in known for name in row)
    return Table(path, tuple(columns), tuple(enumerate(known, 1)))


def number(row: Mapping[str, Any], name: str, unit: str = "") -> float:
    """A number of a row; nan if the column is empty or not there.

    Raises:
        UsageError: it is no number, negative or infinite.
    """
    said = row.get(name)
    if said is None or said == "":
        return math.nan
    try:
        value = float(said)
    except (TypeError, ValueError):
        raise UsageError(f"{name} is no number: {said!r}") from None
    if math.isnan(value):
        return value
    if not 0.0 <= value < math.inf:
        raise UsageError(f"{name} is {said}{unit and ' ' + unit}, which cannot be")
    return value


def whole(row: Mapping[str, Any]) -> None:
    """Refuse a row whose values do not fit the columns.

    Raises:
        UsageError: they do not.
    """
    if said := row.get(""):
        raise UsageError(str(said))


def wall_s(text: Any) -> float:
    """Unix time of an ISO date and time; without a zone it is local time. nan if there is none.

    Raises:
        UsageError: it is something else.
    """
    if text in (None, "", "Unknown", "None"):
        return math.nan
    if isinstance(text, (int, float)):
        return float(text) / (1000.0 if text > 1e11 else 1.0)  # milliseconds, as MLflow has them
    try:
        when = datetime.fromisoformat(str(text).strip().replace(" UTC", "+00:00"))
    except ValueError:
        raise UsageError(f"{text!r} is no date and time") from None
    return when.timestamp()


def utc(when_s: float) -> str:
    """Unix time as ISO date and time in UTC."""
    return datetime.fromtimestamp(when_s, UTC).isoformat(timespec="seconds")


def told_energy(row: Mapping[str, Any], options: Options, tool: str) -> dict[str, Any]:
    """Energy of the column that the user named, as fields of a run.

    Raises:
        UsageError: no such unit, or no number there.
    """
    if not options.energy:
        return {"energy_basis": f"unknown: {tool} measures no energy"}
    column, colon, unit = options.energy.rpartition(":")
    if not colon:
        raise UsageError(f"{options.energy!r}: name a column and its unit, such as energy:kWh")
    value = number(row, column)
    if math.isnan(value):
        return {"energy_basis": f"unknown: {column} is empty"}
    joules = quantity(value, unit).to("J")
    return {
        "energy_j": joules,
        "energy_provenance": "imported",
        "energy_basis": f"{column} of {tool}, in {unit} as told",
    }


#: Parameters that are keys of their own.
SEEDS = ("seed", "random_seed", "random_state")
FOLDS = ("fold", "cv_fold")


def split_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """``config``, ``seed`` and ``fold`` of a run from all its parameters."""
    left = dict(config)
    seed = next((str(left.pop(n)) for n in SEEDS if left.get(n) not in (None, "")), "")
    fold = next((str(left.pop(n)) for n in FOLDS if left.get(n) not in (None, "")), "")
    return {"config": keys.plain(left) if left else None, "seed": seed, "fold": fold}


def value_of(text: Any) -> Any:
    """A cell of a table as a JSON value: 0.1, true, or the text itself."""
    if not isinstance(text, str):
        return text
    if text in ("True", "False"):
        return text == "True"
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return text if isinstance(value, float) and not math.isfinite(value) else value


def scores_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of ``values`` that are numbers, and which of them are better when smaller."""
    from picojoule.green.recording import smaller_by_name

    scores: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, bool) or value in (None, ""):
            continue
        try:
            scores[name] = float(value)
        except (TypeError, ValueError):
            continue
    return {
        "scores": scores,
        "score_larger_is_better": {n: False for n in scores if smaller_by_name(n)},
    }
