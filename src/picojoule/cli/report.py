"""``picojoule report``: a recorded run as a table on stdout, or as an HTML file."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from picojoule.cli import _terminal


def main(argv: Sequence[str]) -> int:
    """Show the run."""
    parser = argparse.ArgumentParser(
        prog="picojoule report",
        description="Show a recorded run, also one that was cut off.",
        allow_abbrev=False,
    )
    parser.add_argument("run", help="the folder that 'picojoule run -o' or 'pj.profile' wrote")
    parser.add_argument("--html", metavar="FILE", help="write one self-contained HTML file instead")
    parser.add_argument("--width", type=_width, metavar="N", help="columns of the table")
    args = parser.parse_args(argv)

    import picojoule as pj

    profile = pj.load(args.run)
    if args.html:
        from picojoule.reports import html

        html.write(profile, args.html)
        _terminal.note(f"wrote {args.html}")
        return 0
    from picojoule.reports import table

    _terminal.tolerate_encoding(sys.stdout)
    width = args.width or _terminal.width(sys.stdout)
    print(table.render(profile, width=width, color=_terminal.color(sys.stdout)).rstrip("\n"))
    return 0


def _width(text: str) -> int:
    if not text.isdecimal() or not 20 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError(f"expected a number from 20 to 1000, got {text!r}")
    return int(text)
