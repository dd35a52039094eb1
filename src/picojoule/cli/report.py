"""``picojoule report``: a recorded run as a table on stdout, or as an HTML file."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from picojoule.cli import _terminal


def main(argv: Sequence[str]) -> int:
    """Show the run."""
    from picojoule.reports import _kernels

    parser = argparse.ArgumentParser(
        prog="picojoule report",
        description="Show a recorded run, also one that was cut off.",
        allow_abbrev=False,
    )
    parser.add_argument("run", help="the folder that 'picojoule run -o' or 'pj.profile' wrote")
    parser.add_argument("--html", metavar="FILE", help="write one self-contained HTML file instead")
    parser.add_argument("--width", type=_width, metavar="N", help="columns of the table")
    kernels = parser.add_argument_group("kernels in the table, where a device was traced")
    kernels.add_argument(
        "--by",
        choices=_kernels.GROUPINGS,
        help="a line for each kernel in all regions, for each region, or for each op, which is the "
        "name of the innermost region for now (default: each kernel in each region)",
    )
    kernels.add_argument(
        "--sort", choices=_kernels.SORTS, default="energy", help="largest first (default: energy)"
    )
    kernels.add_argument(
        "--top",
        type=_top,
        default=_kernels.MOST_ROWS,
        metavar="N",
        help=f"lines; the rest is one sum (default: {_kernels.MOST_ROWS}; 0: all)",
    )
    kernels.add_argument(
        "--counts", metavar="FILE", help="FLOPs and bytes of kernels, from 'picojoule count'"
    )
    args = parser.parse_args(argv)

    import picojoule as pj

    profile = pj.load(args.run, counts=args.counts)
    if args.html:
        from picojoule.reports import html

        html.write(profile, args.html)
        _terminal.note(f"wrote {args.html}")
        return 0
    from picojoule.reports import table

    _terminal.tolerate_encoding(sys.stdout)
    width = args.width or _terminal.width(sys.stdout)
    text = table.render(
        profile,
        width=width,
        color=_terminal.color(sys.stdout),
        by=args.by,
        sort=args.sort,
        top=args.top or None,
    )
    print(text.rstrip("\n"))
    return 0


def _width(text: str) -> int:
    if not text.isdecimal() or not 20 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError(f"expected a number from 20 to 1000, got {text!r}")
    return int(text)


def _top(text: str) -> int:
    if not text.isdecimal() or int(text) > 1_000_000:
        raise argparse.ArgumentTypeError(f"expected a number of lines, got {text!r}")
    return int(text)
