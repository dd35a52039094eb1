"""``picojoule count``: run a program once to count what each of its GPU kernels does.

Counting replays every new kernel a few times, so times and joules of such a run mean nothing; the
counts are written to a file, and hold for every launch of the same kernel in later runs.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from picojoule.cli import _terminal
from picojoule.cli._supervise import (
    death_notice,
    exit_status,
    interpreter_flags,
    signals_held,
)
from picojoule.cli._target import Target, resolve, split
from picojoule.errors import PicojouleError, UsageError

_EPILOG = """\
PROGRAM is the path of a Python script (ends in .py) or '-m MODULE', and then its arguments. It runs
as always, but each kernel is run again for every pass the first time it is seen, with its memory
restored in between. Kernels inside CUDA graphs are not counted: run the program without graphs.

It takes an NVIDIA GPU from Turing on, CUPTI 12.6 or newer, and the driver's permission to read
counters (NVreg_RestrictProfilingToAdminUsers=0 or CAP_PERFMON); and no other profiler at work.

The exit status is the program's own; 2 if nothing could be counted.
"""

#: What --types means to the native module.
_PLANS = {"common": "quick", "checked": "checked", "all": "all"}


class CannotCountError(PicojouleError):
    """Counters cannot be read here; the message says why and the remedy."""

    exit_status = 2


def main(argv: Sequence[str]) -> int:
    """Run the program, write the counts, and give back its exit status."""
    parser, valued = _parser()
    own, words = split(argv, valued)
    args = parser.parse_args(own)
    target = resolve(words)
    if target.kind == "command":
        raise UsageError(
            "only Python programs can be counted: give a script (.py) or '-m MODULE', "
            f"not {target.words[0]!r}"
        )
    output = _prepare(Path(args.output))
    _check_here()
    with tempfile.TemporaryDirectory(prefix="picojoule-", ignore_cleanup_errors=True) as folder:
        report = Path(folder, "counts.json")
        wait_status = _run(target, report, _PLANS[args.types], args.times)
        notice = death_notice(wait_status)
        if notice:
            _terminal.note(notice)
        status = exit_status(wait_status)
        if not report.exists():
            _terminal.complain("the program left no counts: it ended before it could")
            return status or 1
        document = json.loads(report.read_text(encoding="utf-8"))
    if "told" in document:
        return 2
    return _conclude(document, output, status)


def _parser() -> tuple[argparse.ArgumentParser, frozenset[str]]:
    """The parser, and those of its options that take a value."""
    parser = argparse.ArgumentParser(
        prog="picojoule count",
        usage="picojoule count [options] [--] (SCRIPT.py | -m MODULE) [arguments]",
        description="Count the FLOPs and bytes of each GPU kernel of a program, exactly.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    valued = [
        parser.add_argument(
            "-o",
            "--output",
            metavar="FILE",
            default="picojoule-counts.json",
            help="where the counts go (default: %(default)s)",
        ),
        parser.add_argument(
            "--types",
            choices=tuple(_PLANS),
            default="checked",
            help="which tensor-core types are told apart: the common ones in 2 passes (common), "
            "those and a third pass that tells if there were others (checked, the default), or "
            "all of them in up to 11 passes (all)",
        ),
        parser.add_argument(
            "--times",
            type=_positive,
            default=1,
            metavar="N",
            help="count the first N launches of each kernel and say whether they differ "
            "(default: 1)",
        ),
    ]
    return parser, frozenset(option for action in valued for option in action.option_strings)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 on, got {text!r}")
    return int(text)


def _prepare(output: Path) -> Path:
    """Make sure that the file can be written, before anything is run."""
    if output.is_dir():
        raise UsageError(f"-o {output}: this is a folder")
    if not output.parent.is_dir():
        raise UsageError(f"-o {output}: there is no folder {output.parent}")
    return output.absolute()  # the program may go elsewhere


def _check_here() -> None:
    """Say at once what would be known only after the program has run."""
    from picojoule import _core
    from picojoule._counts import procfs

    for words, remedy in (
        _core.counter_permission(procfs()),
        _core.CounterLibrary(sys.path).refusal,
    ):
        if words:
            raise CannotCountError(_sentence(words, remedy))


def _run(target: Target, report: Path, plan: str, times: int) -> int:
    argv = [
        sys.executable,
        *interpreter_flags(),
        str(Path(__file__).with_name("_launch.py")),
        target.kind,
        json.dumps({"count": {"report": str(report), "plan": plan, "times": times}}),
        *target.words,
    ]
    with signals_held() as supervisor:
        return supervisor.wait(supervisor.spawn(sys.executable, argv))


def _conclude(document: dict[str, Any], output: Path, status: int) -> int:
    from picojoule._counts import write

    words, remedy = document.pop("refusal")
    kernels = document["signatures"]
    counted = [kernel for kernel in kernels if kernel["flops"]]
    if not counted:
        if not words:
            words = "the program launched no kernel outside of CUDA graphs" + _graphs(document)
        _terminal.complain(f"nothing was counted: {_sentence(words, remedy)}")
        return status or 2
    write(output, document)
    _terminal.note(
        f"{len(counted)} of {len(kernels)} kernels were counted, in {document['passes']} passes "
        f"each, on {document['device'] or document['chip']}; the counts are in {output}"
    )
    if words:
        _terminal.warn(f"not all were: {_sentence(words, remedy)}")
    for why in dict.fromkeys(k["why_not"] for k in kernels if k["why_not"] and not words):
        _terminal.warn(f"not all were: {why}")
    partial = [kernel for kernel in counted if kernel["uncounted"]]
    if partial:
        _terminal.warn(
            f"{len(partial)} kernels did, or may have done, tensor work of types that were not "
            "counted, so their FLOPs are unknown; --types all counts all types"
        )
    if document["graphs"]:
        _terminal.warn("kernels inside CUDA graphs were not counted" + _graphs(document))
    return status


def _graphs(document: Mapping[str, Any]) -> str:
    graphs = document["graphs"]
    return f" (graphs were launched {graphs} times)" if graphs else ""


def _sentence(words: str, remedy: str) -> str:
    return f"{words}; {remedy}" if remedy else words
