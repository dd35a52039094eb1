"""Tables of text that fit: columns that shrink, go or say less where there is no room."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from picojoule.reports import units
from picojoule.reports._text import cells, ellipsize

#: No screen is narrower.
LEAST_WIDTH = 24

_STYLES = {
    "bold": "1",
    "dim": "2",
    "measured": "32",
    "counted": "32",
    "modelled": "36",
    "estimated": "33",
    "simulated": "35",
    "warning": "33",
}


@dataclass(frozen=True, slots=True)
class Column:
    title: str
    right: bool = True
    shrinks_to: int = 0  # 0: never shortened
    comfortable: int = 0  # not shortened further while anything else can give way


@dataclass(frozen=True, slots=True)
class Cell:
    text: str
    style: str = ""
    short: str = ""  # what to say where there is no room


def lay_out(
    columns: Sequence[Column],
    rows: Sequence[Sequence[Cell]],
    yields: Sequence[str],
    screen: Screen,
) -> list[str]:
    """Lines no wider than the screen.

    Args:
        columns: what is wished for.
        rows: a cell for each column.
        yields: what gives way where there is no room, in order: ``-Title`` drops a column,
            ``Title`` writes its cells in short. Then names are shortened.
        screen: what it is for.
    """
    show = screen.show
    texts = [[show(cell.text) for cell in row] for row in rows]
    kept = [i for i in range(len(columns)) if any(row[i] for row in texts)]
    titles = {column.title: i for i, column in enumerate(columns)}

    def natural(i: int) -> int:
        return max(cells(show(columns[i].title)), *(cells(row[i]) for row in texts))

    sizes = {i: natural(i) for i in kept}

    def least() -> int:
        tight = (min(sizes[i], columns[i].comfortable or sizes[i]) for i in kept)
        return sum(tight) + 2 * (len(kept) - 1)

    for step in yields:
        if least() <= screen.width:
            break
        i = titles[step.lstrip("-")]
        if step.startswith("-"):
            kept = [k for k in kept if k != i]
        elif i in kept:
            for at, row in enumerate(rows):
                texts[at][i] = show(row[i].short or row[i].text)
            sizes[i] = natural(i)
    over = sum(sizes[i] for i in kept) + 2 * (len(kept) - 1) - screen.width
    for i in reversed(kept):
        if over > 0 and columns[i].shrinks_to:
            give = min(over, max(0, sizes[i] - columns[i].shrinks_to))
            sizes[i] -= give
            over -= give
    if over > 0:  # not even so: plain words, cut where the screen ends
        return [
            screen.fit("  ".join(f"{row[i]:<{sizes[i]}}" for i in kept).rstrip())
            for row in ([show(c.title) for c in columns], *texts)
        ]

    def line(values: Iterable[tuple[int, str, str]]) -> str:
        parts = []
        for i, text, style in values:
            short = screen.fit(text, sizes[i])
            pad = " " * (sizes[i] - cells(short))
            painted = screen(short, style)
            parts.append(pad + painted if columns[i].right else painted + pad)
        return "  ".join(parts).rstrip()

    lines = [line((i, show(columns[i].title), "bold") for i in kept)]
    lines += [line((i, texts[at][i], row[i].style) for i in kept) for at, row in enumerate(rows)]
    return lines


@dataclass(frozen=True, slots=True)
class Screen:
    """Where the table will be seen, and what that can show."""

    width: int
    color: bool
    unicode: bool

    def __call__(self, text: str, style: str) -> str:
        """``text``, which fits already, in a style: hand-written ANSI, or nothing."""
        code = _STYLES.get(style)
        return f"\x1b[{code}m{text}\x1b[0m" if self.color and code and text else text

    def show(self, text: str) -> str:
        """``text`` in characters that the screen has."""
        return text if self.unicode else units.ascii_only(text)

    def fit(self, text: str, width: int | None = None) -> str:
        """``text`` shown in one line of at most ``width``, shortened in the middle."""
        mark = "…" if self.unicode else "~"
        return ellipsize(self.show(text), self.width if width is None else width, mark)

    def prose(self, text: str, *, indent: str = "", hang: str | None = None) -> list[str]:
        """``text`` wrapped at words; lines after the first begin with ``hang``."""
        room = self.width
        shown = self.show(text)
        # textwrap counts characters; where some are wide, leave room for them.
        wide = cells(shown) - len(shown)
        lines = textwrap.wrap(
            shown,
            room if wide <= 0 else max(LEAST_WIDTH, room * len(shown) // cells(shown)),
            initial_indent=indent,
            subsequent_indent=indent if hang is None else hang,
            break_on_hyphens=False,
        )
        return [self.fit(line) for line in lines]
