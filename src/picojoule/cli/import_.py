"""``picojoule import``: another profiler's timeline as a run of ours."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from picojoule.cli import _terminal

_EPILOG = """\
formats: PyTorch profiler (Chrome trace, .json or .json.gz), Nsight Systems (SQLite export), JAX
profiler (.xplane.pb or the folder that holds it), Proton (hatchet JSON). They are told apart by
content.

joules for another profiler's kernels:
  picojoule run --kernels overlay -o power.pj train.py     # which runs that profiler
  picojoule import trace.json.gz --power power.pj -o run.pj
  picojoule report run.pj
"""


def main(argv: Sequence[str]) -> int:
    """Write the run."""
    parser = argparse.ArgumentParser(
        prog="picojoule import",
        description="Turn a timeline that another profiler recorded into a run of picojoule.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("file", help="what the other profiler wrote")
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="the run to write")
    parser.add_argument(
        "--power", metavar="RUN", help="take readings and regions from this run of picojoule"
    )
    parser.add_argument(
        "--ops", action="store_true", help="the framework's own ranges become regions as well"
    )
    args = parser.parse_args(argv)

    from picojoule import _trace, importers

    timeline = importers.read(args.file, ops=args.ops)
    power = None if args.power is None else _trace.read(args.power)
    trace = importers.to_trace(timeline, power)
    _trace.save(args.output, trace)
    for warning in trace.warnings:
        _terminal.note(warning)
    _terminal.note(
        f"{len(trace.kernels)} kernels and copies of {timeline.source} are in {args.output}"
    )
    return 0
