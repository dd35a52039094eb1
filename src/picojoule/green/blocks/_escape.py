"""Names that others chose, safe in Markdown, LaTeX and YAML."""

from __future__ import annotations

import json

from picojoule.reports._text import clean

_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "_": r"\_", "%": r"\%", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}",
    "±": r"$\pm$", "×": r"$\times$", "·": r"$\cdot$", "≤": r"$\leq$",
}  # fmt: skip
_MARKDOWN = frozenset("\\`*_{}[]#|~$")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def markdown(text: object) -> str:
    """One line of plain words in Markdown, in tables too."""
    return "".join(_ENTITIES.get(c) or (f"\\{c}" if c in _MARKDOWN else c) for c in clean(text))


def latex(text: object) -> str:
    """Plain words in LaTeX's text mode; CO2e gets its subscript."""
    escaped = "".join(_LATEX.get(c, c) for c in clean(text))
    return escaped.replace("CO2e", r"CO\textsubscript{2}e")


def yaml(text: object) -> str:
    """A double-quoted YAML scalar, which is JSON's, on one line."""
    return json.dumps(clean(text), ensure_ascii=False)
