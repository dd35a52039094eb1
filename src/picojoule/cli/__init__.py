"""The command line: ``picojoule COMMAND ...``.

One file a command, each with ``main(argv) -> exit status``; the table below is all that joins them.
A command's file is imported only when it is called.

Exit statuses: 0 fine, 1 picojoule could not do it, 2 the call cannot mean anything, 130
interrupted, 141 whoever read our output went away. ``picojoule run`` passes on the program's own.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from picojoule.cli import _terminal
from picojoule.errors import PicojouleError, UsageError


@dataclass(frozen=True, slots=True)
class Command:
    """One line of ``picojoule --help`` and where it lives."""

    module: str
    summary: str


COMMANDS = {
    "run": Command("picojoule.cli.run", "measure a script, a module or any command"),
    "report": Command("picojoule.cli.report", "show a recorded run again, as a table or as HTML"),
    "export": Command("picojoule.cli.export", "turn a recorded run into another format"),
    "import": Command(
        "picojoule.cli.import_", "take in another profiler's timeline, with power readings or alone"
    ),
    "study": Command(
        "picojoule.cli.study", "what a result cost: list, report and export the runs of a study"
    ),
    "count": Command(
        "picojoule.cli.count", "count exactly what each GPU kernel of a program computes and moves"
    ),
    "lint": Command(
        "picojoule.cli.lint", "compute again what a model card claims on energy and carbon"
    ),
    "doctor": Command(
        "picojoule.cli.doctor", "what can be measured here, and what would mend the rest"
    ),
    "demo": Command(
        "picojoule.cli.demo", "train a tiny model for a few seconds and show its joules"
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and give its exit status; never raises."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        status = _dispatch(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()  # so that a closed pipe shows here, where it is dealt with
        return status
    except SystemExit as leave:  # argparse, after --help or a usage error
        return leave.code if isinstance(leave.code, int) else 0
    except BrokenPipeError:
        _terminal.discard_stdout()
        return 141
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if os.environ.get("PICOJOULE_DEBUG", "0") not in ("", "0"):
            raise
        return _explain(error)


def _dispatch(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="picojoule",
        usage="picojoule [-h] [--version] COMMAND ...",
        description="How many joules a program uses, where, and how sure that is.",
        epilog="commands:\n"
        + "\n".join(f"  {name:<8} {command.summary}" for name, command in COMMANDS.items())
        + "\n\n'picojoule COMMAND --help' tells more.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="store_true", help="show the version and exit")
    parser.add_argument("command", nargs="?", choices=COMMANDS, help=argparse.SUPPRESS)
    args = parser.parse_args(arguments[:1])
    if args.version:
        from picojoule._version import __version__

        print(f"picojoule {__version__}")
        return 0
    if args.command is None:
        parser.print_help(sys.stderr)
        return 2
    module = importlib.import_module(COMMANDS[args.command].module)
    status: int = module.main(arguments[1:])
    return status


def _explain(error: Exception) -> int:
    """One line that a person can act on, and the exit status that goes with the error."""
    if isinstance(error, PicojouleError):
        _terminal.complain(str(error))
    elif isinstance(error, OSError):
        what = f"{error.filename}: " if error.filename else ""
        _terminal.complain(f"{what}{error.strerror}" if error.strerror else str(error))
    else:
        _terminal.complain(
            f"{type(error).__name__}: {error} (this is a fault in picojoule; "
            "PICOJOULE_DEBUG=1 shows the traceback)"
        )
    return getattr(error, "exit_status", 2 if isinstance(error, UsageError) else 1)
