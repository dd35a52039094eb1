"""Names that others chose, made safe and short."""

from __future__ import annotations

import unicodedata

#: Control, format (bidirectional overrides too), surrogate and private characters, line breaks.
_UNSAFE = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))


def clean(text: object) -> str:
    """``text`` with everything that could steer a terminal or hide itself written as an escape."""
    raw = str(text)
    if raw.isascii() and raw.isprintable():
        return raw
    return "".join(_escape(c) if unicodedata.category(c) in _UNSAFE else c for c in raw)


def cells(text: str) -> int:
    """Columns that ``text`` takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(map(_cells_of, text))


def ellipsize(text: str, width: int, mark: str = "…") -> str:
    """``text`` in at most ``width`` columns, shortened in the middle."""
    if cells(text) <= width:
        return text
    if width <= cells(mark):
        return mark[:width]
    room = width - cells(mark)
    tail = _take(text[::-1], room // 2)[::-1]
    head = _take(text, room - cells(tail))
    return f"{head}{mark}{tail}"


def _take(text: str, width: int) -> str:
    used = 0
    for i, c in enumerate(text):
        used += _cells_of(c)
        if used > width:
            return text[:i]
    return text


def _cells_of(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _escape(character: str) -> str:
    code = ord(character)
    known = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(character)
    if known:
        return known
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
