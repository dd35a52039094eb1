"""What a card claims: numbers with kind, unit and place, in the groups that belong together."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from picojoule.green.lint._numbers import NUMBER, Number, Unit, read, unit
from picojoule.green.lint._tables import Table, tables

_CARBON = re.compile(
    r"co[\s_$\\{]*(?:<sub>)?[2₂]|carbon|emission|footprint|greenhouse|\bghg\b", re.I
)
_DEVICES = r"(?:GPU|TPU|chip|node|device|accelerator|processor|card)s?"
_NAMES = (
    r"(?:NVIDIA\s+|Tesla\s+|Google\s+|AMD\s+)?"
    r"(?:TPU\s?v\d\w*|[AHVPKTLB]\d{1,3}s?(?=\b|[x×]\d)(?:[\s-]?(?:SXM\d?|PCIe|\d+\s?GB))*"
    r"|RTX\s?\w*\s?\d{4}(?:\s?Ti)?|MI\d{3}X?|GH200)"
)
DEVICE = re.compile(_NAMES)
_COUNT = re.compile(
    rf"(?<![\w.,$])(\d{{1,3}}(?:,\d{{3}})+|\d+)\s*(?:[x×]\s*)?(?:{_NAMES}|{_DEVICES}\b(?!\s*-?\s*h))"
)
_TIMES = re.compile(rf"(?:{_NAMES})\s*[x×]\s*(\d+)\b")
_BASIS = re.compile(r"(market|location)[\s-]*based", re.I)
_MASS = re.compile(
    r"(?<![\w.])[\d.,]+\s*(?:million\s|metric\s)*(?:[kmg]?g|t|tons?|tonnes?|lbs?)\b", re.I
)
_PUE = re.compile(
    r"(?:\bPUE\b|power usage effectiveness|power usage efficiency)(?:\s*\(PUE\))?"
    r"[\s*:=,]*(?:of|is|was|=|:|at)?[\s*]*(?P<n>[1-3](?:\.\d+)?)(?![.,]?\d)",
    re.I,
)
_MONEY = re.compile(rf"(?P<sign>\$|USD\s?|€|EUR\s?|£)\s?(?P<n>{NUMBER.pattern})(?P<rest>.{{0,14}})")


@dataclass(frozen=True, slots=True)
class Claim:
    """One number with a meaning.

    Attributes:
        kind: "co2e" [g], "embodied" [g], "energy" [kWh], "hours" [h], "watts" [W], "intensity"
            [g/kWh], "pue", "devices", "usd", "usd_per_hour", "flop", "mac", "flop_per_s",
            "co2e_per" [g each], "token", "parameter" and so on, "epochs".
        number: in that unit.
        line: from 1.
        words: label or sentence that it stands in.
        per: what "co2e_per" is per.
        device_hours: whether hours are summed over devices.
    """

    kind: str
    number: Number
    line: int
    words: str
    per: str = ""
    device_hours: bool = False

    @property
    def value(self) -> float:
        """Its number."""
        return self.number.value

    @property
    def market(self) -> bool:
        """Whether it is said to be market-based."""
        return self._basis() == "market"

    @property
    def location(self) -> bool:
        """Whether it is said to be location-based."""
        return self._basis() == "location"

    def _basis(self) -> str:
        """Of several labels in a sentence, the one on this number's side."""
        at, words = self.number.start, self.words
        if ";" in words:
            begin = words.rfind(";", 0, at) + 1
            end = words.find(";", at)
            part = words[begin : end if end >= 0 else None]
            at, words = at - begin, part
        labels = [(m.start(), m[1].lower()) for m in _BASIS.finditer(words)]
        names = {name for _, name in labels}
        if len(names) < 2:
            return names.pop() if names else ""
        masses = [m.start() for m in _MASS.finditer(words)] or [at]
        if labels[0][0] < masses[0]:
            before = [name for place, name in labels if place < at]
            return before[-1] if before else labels[0][1]
        after = [name for place, name in labels if place > at]
        return after[0] if after else labels[-1][1]


@dataclass(slots=True)
class Group:
    """Claims that speak of the same thing: a row, a list, a paragraph, the metadata."""

    kind: str
    name: str
    words: str = ""
    claims: list[Claim] = field(default_factory=list)
    table: int = -1

    def of(self, kind: str) -> list[Claim]:
        """Its claims of a kind."""
        return [c for c in self.claims if c.kind == kind]

    def one(self, kind: str) -> Claim | None:
        """Its claim of a kind, if all of them agree."""
        found = self.of(kind)
        if not found or any(c.value != found[0].value for c in found):
            return None
        return found[0]


@dataclass(frozen=True, slots=True)
class Card:
    """A whole document."""

    lines: list[str]
    groups: list[Group]
    tables: list[Table]
    prose: list[tuple[int, str]]  # (line, text) outside tables and metadata

    def all(self, kind: str) -> list[Claim]:
        """The claims of a kind, of all groups."""
        return [c for g in self.groups for c in g.of(kind)]


def card(text: str) -> Card:
    """Read a document."""
    lines = text.splitlines()
    groups: list[Group] = []
    taken: set[int] = set()
    if lines and lines[0].strip() == "---":
        end = next((i for i, li in enumerate(lines[1:], 1) if li.strip() in ("---", "...")), 0)
        if end:
            taken |= set(range(1, end + 2))
            groups += _metadata(lines[: end + 1])
    found = [t for t in tables(lines) if not t.lines & taken]
    for at, table in enumerate(found):
        taken |= table.lines
        groups += _rows(table, at)
    prose = [(i, line) for i, line in enumerate(lines, 1) if i not in taken]
    groups += _paragraphs(prose)
    return Card(lines, groups, found, prose)


# ---- metadata ----


def _metadata(lines: list[str]) -> list[Group]:
    group = Group("metadata", "co2_eq_emissions", "\n".join(lines))
    inside, depth = False, 0
    for i, line in enumerate(lines, 1):
        indent = len(line) - len(line.lstrip())
        match = re.match(r"\s*(co2_eq_emissions|emissions)\s*:\s*(.*)$", line)
        if match is None or (match[1] == "emissions" and not (inside and indent > depth)):
            inside = inside and (indent > depth or not line.strip())
            continue
        if match[1] == "co2_eq_emissions":
            inside, depth = True, indent
        value = match[2].strip().strip("'\"")
        number = NUMBER.match(value)
        if number:
            said = unit(value[number.end() :].strip()) if value[number.end() :].strip() else None
            scale = said.scale if said and said.dimension == (("g", 1),) else 1.0
            group.claims.append(Claim("co2e", read(number).scaled(scale), i, line.strip()))
    return [group] if group.claims else []


# ---- tables ----


def _rows(table: Table, at: int) -> list[Group]:
    heads = [_head(h) for h in table.head]
    out = []
    for row in table.rows:
        name = row[0].text if row else ""
        words = " | ".join(c.text for c in row)
        group = Group("row", name, words, table=at)
        for cell, (kind, size, words_of, per) in zip(row, heads, strict=False):
            group.claims += _cell(cell.text, cell.line, kind, size, words_of, per)
        for cell in row:
            group.claims += _counts(cell.text, cell.line)
        if group.claims:
            out.append(group)
    return out


def _head(text: str) -> tuple[str, float, str, str]:
    """(kind, size in its unit, words, per) of a column."""
    words = re.sub(r"</?[a-z]+>|\*\*", "", text)
    inner = re.findall(r"[(\[]([^)\]]*)[)\]]", words)
    tries = [*reversed(inner)]
    bare = re.sub(r"[(\[][^)\]]*[)\]]", " ", words).replace(",", " ").split()
    tries += [" ".join(bare[i:]) for i in range(len(bare))]
    if re.search(r"\bPUE\b", words) and not re.search(r"[kMG]Wh", words):
        return "pue", 1.0, words, ""
    counted = re.search(r"\b(FLOP|MAC)s?\s*[(\[]\s*([MGTPB])\s*[)\]]", words, re.I)
    if counted:  # "MACs (G)": the letter alone would be a unit of mass
        size = {"M": 1e6, "G": 1e9, "B": 1e9, "T": 1e12, "P": 1e15}[counted[2].upper()]
        return counted[1].lower(), size, words, ""
    for text_of in tries:
        said = unit(re.split(r"[·*]", text_of)[0])
        if said is not None:
            kind, scale = kind_of(said, words)
            return kind, scale, words, said.per
    if re.search(r"\$|\busd\b|cost", words, re.I):
        hourly = re.search(r"/\s*h|per hour|hourly", words, re.I)
        return ("usd_per_hour" if hourly else "usd"), 1.0, words, ""
    if re.search(rf"\b{_DEVICES}\b", words, re.I) and not re.search(r"hour|time", words, re.I):
        return "devices", 1.0, words, ""
    if re.search(r"epochs?\b", words, re.I):
        return "epochs", 1.0, words, ""
    if re.search(r"\b(words|tokens|images|examples)\b", words, re.I):
        return "token", 1.0, words, ""
    return "", 1.0, words, ""


def _cell(text: str, line: int, kind: str, size: float, words: str, per: str) -> Iterator[Claim]:
    plain = re.sub(r"\*\*|</?[a-z]+>|[$€£~≈<>]", " ", text)
    for match in NUMBER.finditer(plain):
        before = plain[: match.start()]
        if re.search(r"[A-Za-z_]-?$", before) or (kind not in ("usd",) and before.strip()):
            break  # part of a name, or not the cell's own value
        number = read(match)
        said = _unit_after(plain[match.end() :])
        if said is not None:
            own, scale = kind_of(said, words)
            yield _claim(own or kind, number.scaled(scale), line, words, said.per)
        elif kind:
            yield _claim(kind, number.scaled(size), line, words, per)
        if kind != "usd":
            break


# ---- prose ----

_ITEM = re.compile(r"^\s*(?:[-*+]|\d+[.)])\s+|^\s*\**[\w /()-]{2,40}\**\s*:")


_EQUATION = re.compile(r"[=≈].*\d\s*(?:[*×·/]|x\s)|\d.*(?:[*×·/]|\sx\s).*[=≈]")


def _paragraphs(prose: list[tuple[int, str]]) -> list[Group]:
    out: list[Group] = []
    group: Group | None = None
    last = 0
    for line, text in prose:
        if not text.strip() or text.lstrip().startswith("#"):
            group = None
            continue
        item = _ITEM.match(text) is not None
        kind = "list" if item else "paragraph"
        if group is None or line != last + 1 or (group.kind != kind and item):
            group = Group(kind, "")
            out.append(group)
        last = line
        group.words += text + "\n"
        for sentence in re.split(r"(?<=[.;!?])\s+(?=[A-Z*(])", text):
            found = claims_in(sentence, line)
            if _EQUATION.search(sentence):
                # Its numbers are parts of a sum; the equation is computed again as one.
                found = [c for c in found if c.kind == "intensity"]
            group.claims += found
    return [g for g in out if g.claims]


def claims_in(sentence: str, line: int) -> list[Claim]:
    """The claims of a sentence or a list's item."""
    plain = re.sub(r"</?su[bp]>", "", sentence).replace("**", "").replace("`", "")
    out: list[Claim] = []
    money = set()
    for match in _MONEY.finditer(plain):
        number = NUMBER.match(match["n"])
        if number is None:
            continue
        hourly = re.match(r"\s*(?:/|per)[\s-]*(?:\w+[\s-])?h", match["rest"])
        kind = "usd_per_hour" if hourly else "usd"
        out.append(_claim(kind, read(number), line, plain))
        money.add(match.start("n"))
    for match in _PUE.finditer(plain):
        number = NUMBER.match(match["n"])
        if number is not None:
            out.append(_claim("pue", read(number), line, plain))
            money.add(match.start("n"))
    out += _counts(plain, line)
    label = plain.partition(":")[0] if ":" in plain[:50] else ""
    labelled, size, _, per = _head(label) if "(" in label else ("", 1.0, "", "")
    for match in NUMBER.finditer(plain):
        if match.start() in money or re.search(r"[\w.]-?$", plain[: match.start()]):
            continue
        said = _unit_after(plain[match.end() :])
        if said is not None:
            kind, scale = kind_of(said, plain)
            if kind:
                out.append(_claim(kind, read(match).scaled(scale), line, plain, said.per))
            continue
        if labelled and plain[: match.start()].strip(" ~≈*") == f"{label}:".strip(" *"):
            # "Energy (kWh): 10"
            out.append(_claim(labelled, read(match).scaled(size), line, plain, per))
            continue
        counted = re.match(
            r"\s*(tokens?|words?|param(?:eter)?s?|images?|examples?|epochs?)\b",
            plain[match.end() :],
            re.I,
        )
        if counted:
            kind = counted[1].lower().rstrip("s")
            kind = {"word": "token", "param": "parameter", "epoch": "epochs"}.get(kind, kind)
            out.append(_claim(kind, read(match), line, plain))
        elif label and re.search(r"hours|time", label, re.I) and not plain[match.end() :].strip():
            out.append(_claim("hours", read(match), line, plain))
    return out


def _counts(text: str, line: int) -> list[Claim]:
    found = [*_COUNT.finditer(text), *_TIMES.finditer(text)]
    out = []
    for match in found:
        number = NUMBER.match(match[1])
        if number is not None:
            value = read(number)
            exact = Number(
                value.value, value.value, value.value, value.digits, value.text, match.start(1), 0
            )
            out.append(Claim("devices", exact, line, text))
    return out


def _unit_after(text: str) -> Unit | None:
    words = re.match(r"[\s-]?((?:[^\s,;:()|\[\]]+[ \u00a0]?){1,7})", text)
    if words is None or re.match(r"\s*[-–]\s*\d|\s{2,}", text):
        return None
    parts = words[1].split()
    for count in range(min(6, len(parts)), 0, -1):
        said = unit(" ".join(parts[:count]).rstrip(".*:"))
        if said is not None:
            return said
    return None


def kind_of(said: Unit, words: str) -> tuple[str, float]:
    """What a unit measures, and its size in that kind's unit; ("", 1) if it says nothing here."""
    dimension = dict(said.dimension)
    if dimension == {"g": 1}:
        if said.per:
            return "co2e_per", said.scale
        if not (said.carbon or _CARBON.search(words)):
            return "", 1.0
        if re.search(r"embodied|manufactur", words, re.I):
            return "embodied", said.scale
        return "co2e", said.scale
    if dimension == {"g": 1, "J": -1}:
        return "intensity", said.scale * 3.6e6
    if dimension == {"J": 1}:
        return "energy", said.scale / 3.6e6
    if dimension == {"J": 1, "s": -1}:
        return "watts", said.scale
    if dimension == {"s": 1}:
        return "hours", said.scale / 3600.0
    if dimension == {"FLOP": 1}:
        return ("mac" if said.mac else "flop"), said.scale
    if dimension == {"FLOP": 1, "s": -1}:
        return "flop_per_s", said.scale
    if dimension == {"USD": 1}:
        return "usd", said.scale
    if dimension == {"USD": 1, "s": -1}:
        return "usd_per_hour", said.scale * 3600.0
    return "", 1.0


def _claim(kind: str, number: Number, line: int, words: str, per: str = "") -> Claim:
    summed = kind == "hours" and bool(re.search(rf"{_DEVICES}[\s-]*(?:h\b|hours?)", words, re.I))
    return Claim(kind, number, line, words.strip(), per, summed)
