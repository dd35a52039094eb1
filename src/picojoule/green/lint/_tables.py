"""Tables of a card: Markdown pipes, HTML and LaTeX, as rows of cells with their lines."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html.parser import HTMLParser

_RULE = re.compile(r"^\s*\|?[\s:|-]*-[\s:|-]*\|?\s*$")


@dataclass(frozen=True, slots=True)
class Cell:
    """What a cell says, and in which line (from 1)."""

    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Table:
    """A table with its head; ``lines`` are all lines it takes, to be left out of the prose."""

    head: list[str]
    rows: list[list[Cell]]
    lines: frozenset[int]


def tables(lines: list[str]) -> list[Table]:
    """All tables, in the order in which they stand."""
    found = [*_pipes(lines), *_html(lines), *_latex(lines)]
    return sorted(found, key=lambda t: min(t.lines))


def _pipes(lines: list[str]) -> list[Table]:
    out = []
    i = 1
    while i < len(lines):
        head = _split(lines[i - 1])
        if len(head) < 2 or not _RULE.match(lines[i]) or "|" not in lines[i]:
            i += 1
            continue
        rows, at = [], i + 1
        while at < len(lines) and "|" in lines[at]:
            rows.append([Cell(cell, at + 1) for cell in _split(lines[at])])
            at += 1
        out.append(Table(head, rows, frozenset(range(i, at + 1))))
        i = at + 1
    return out


def _split(line: str) -> list[str]:
    text = line.strip()
    text = text.removeprefix("|")
    text = text[:-1] if text.endswith("|") and not text.endswith("\\|") else text
    cells = [c.replace("\\|", "|").strip() for c in re.split(r"(?<!\\)\|", text)]
    return cells if "|" in line else []


def _latex(lines: list[str]) -> list[Table]:
    out: list[Table] = []
    block: list[tuple[int, str]] = []
    for i, line in enumerate([*lines, ""]):
        stripped = line.strip()
        if re.search(r"(?<!\\)&.*\\\\", stripped):
            block.append((i + 1, stripped))
        elif block and not stripped.startswith("\\") and stripped:
            block = []
        elif block and (not stripped or stripped.startswith("\\end")):
            out += _latex_block(block)
            block = []
    return out


def _latex_block(block: list[tuple[int, str]]) -> list[Table]:
    split = [
        (at, [c.strip() for c in re.split(r"(?<!\\)&", re.sub(r"\\\\.*$", "", text))])
        for at, text in block
    ]
    if len(split) < 2:
        return []
    head = [_plain(c) for c in split[0][1]]
    rows = [[Cell(_plain(c), at) for c in cells] for at, cells in split[1:]]
    return [Table(head, rows, frozenset(at for at, _ in block))]


def _plain(text: str) -> str:
    text = re.sub(r"\\(?:textbf|emph|text|mathrm)\{([^}]*)\}", r"\1", text)
    text = re.sub(r"\\([%&$#_{}])", r"\1", text)
    return re.sub(r"\$_\{?2\}?\$", "2", text).replace("~", " ").strip()


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tables: list[tuple[int, int, list[list[Cell]]]] = []
        self._rows: list[list[Cell]] | None = None
        self._begin = 0
        self._cell: list[str] | None = None
        self._cell_line = 0
        self._words_line = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self._rows, self._begin = [], self.getpos()[0]
        elif self._rows is None:
            return
        elif tag == "tr":
            self._close_cell()
            self._rows.append([])
        elif tag in ("td", "th"):
            self._close_cell()
            self._cell, self._cell_line, self._words_line = [], self.getpos()[0], 0

    def handle_endtag(self, tag: str) -> None:
        if self._rows is None:
            return
        if tag in ("td", "th", "tr"):
            self._close_cell()
        elif tag == "table":
            self._close_cell()
            self.tables.append((self._begin, self.getpos()[0], self._rows))
            self._rows = None

    def handle_data(self, data: str) -> None:
        if self._cell is not None:
            if data.strip() and not self._words_line:
                self._words_line = self.getpos()[0]
            self._cell.append(data)

    def _close_cell(self) -> None:
        if self._cell is not None and self._rows:
            text = " ".join("".join(self._cell).split())
            self._rows[-1].append(Cell(text, self._words_line or self._cell_line))
        self._cell = None


def _html(lines: list[str]) -> list[Table]:
    if not any("<table" in line.lower() for line in lines):
        return []
    reader = _Reader()
    reader.feed("\n".join(lines))
    reader.close()
    out = []
    for begin, end, rows in reader.tables:
        if len(rows) > 1:
            head = [c.text for c in rows[0]]
            out.append(Table(head, rows[1:], frozenset(range(begin, end + 1))))
    return out
