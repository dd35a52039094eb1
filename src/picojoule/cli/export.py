"""``picojoule export``: a recorded run in another format."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from picojoule.cli import _terminal
from picojoule.errors import UsageError


def main(argv: Sequence[str]) -> int:
    """Write the run in the format asked for."""
    from picojoule import reports

    formats = "\n".join(
        f"  {name:<15} {summary}" for name, (summary, _) in reports.EXPORTERS.items()
    )
    parser = argparse.ArgumentParser(
        prog="picojoule export",
        description="Turn a recorded run into another format.",
        epilog=f"formats:\n{formats}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("run", help="the folder that 'picojoule run -o' or 'pj.profile' wrote")
    parser.add_argument("--to", required=True, metavar="FORMAT", help="see below")
    parser.add_argument(
        "-o", "--output", default="-", metavar="FILE", help="'-', the default: stdout"
    )
    args = parser.parse_args(argv)
    if args.to not in reports.EXPORTERS:
        known = ", ".join(reports.EXPORTERS)
        raise UsageError(f"there is no format {args.to!r}; there are: {known}")

    import picojoule as pj

    profile = pj.load(args.run)
    if args.output == "-":
        sys.stdout.flush()
        reports.export(profile, args.to, sys.stdout)
        return 0
    reports.export(profile, args.to, args.output)
    _terminal.note(f"wrote {args.output}")
    return 0
