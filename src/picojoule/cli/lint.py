"""``picojoule lint``: compute again what a model card or paper claims on energy and carbon."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from picojoule.cli import _terminal
from picojoule.errors import UsageError


def main(argv: Sequence[str]) -> int:
    """Show what is wrong; 1 if anything is."""
    from picojoule.green import lint
    from picojoule.reports._text import clean

    parser = argparse.ArgumentParser(
        prog="picojoule lint",
        description="Compute again what cards claim on energy, carbon, FLOP and money.",
        epilog="rules:\n" + "\n".join(f"  {n:<13} {w}" for n, w in lint.RULES.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("card", nargs="+", help="Markdown, LaTeX or text; '-' is stdin")
    parser.add_argument("--json", action="store_true", help="one JSON array of findings")
    args = parser.parse_args(argv)

    _terminal.tolerate_encoding(sys.stdout)
    found = [(name, f) for name in args.card for f in lint.check(_read(name))]
    if args.json:
        rows = [
            {
                "file": name,
                "line": f.line,
                "rule": f.rule,
                "severity": f.severity,
                "message": f.message,
            }
            for name, f in found
        ]
        print(json.dumps(rows, indent=2, ensure_ascii=True))
    else:
        for name, f in found:
            print(f"{clean(name)}:{f.line}: {f.severity}: {clean(f.message)} [{f.rule}]")
    errors = sum(f.severity == "error" for _, f in found)
    if not found and not args.json:
        _terminal.note("nothing to say; only what a card gives inputs for was computed again")
    return 1 if errors else 0


def _read(name: str) -> str:
    data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        if b"\0" in data:
            raise UsageError(f"{name} is not text") from None
        return data.decode("latin-1")
