"""``picojoule run``: measure a script, a module or any command, and stay out of its way.

This process only supervises. A Python program runs in a child that opens the profile itself
(``_launch``), so that its regions count; for any other command the profile is opened here and
covers the tree of processes below.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeAlias

from picojoule.cli import _study_run, _terminal
from picojoule.cli._progress import StatusLine
from picojoule.cli._supervise import (
    Supervisor,
    death_notice,
    exit_status,
    interpreter_flags,
    signals_held,
)
from picojoule.cli._target import Target, resolve, split
from picojoule.errors import (
    ForeignTraceError,
    NoMeterError,
    PicojouleError,
    TraceError,
    UsageError,
)

if TYPE_CHECKING:
    from picojoule.green.recording import Told
    from picojoule.results import Profile

_EPILOG = """\
PROGRAM is the path of a script (ends in .py), '-m MODULE', or any command, and then its arguments.
It starts at the first word that is not one of the options above, or after '--'. The regions of a
Python program are recorded when it is given as a script or module; 'run python train.py' measures
it from outside, like any other command.

The exit status is the program's own; 128 + n if signal n killed it; 127 and 126 if a command is not
there or not executable; 2 for a call that cannot mean anything, and then nothing was run.
"""


#: Ends a measurement, once the program has ended. Gives the profile if wanted and there is one.
Finish: TypeAlias = "Callable[[bool], Profile | None]"


@dataclass(frozen=True, slots=True)
class Settings:
    """What ``pj.profile`` is given."""

    name: str
    output: str | None
    sources: list[str] | None
    rate_hz: float | None
    kernels: str | None = None
    annotations: bool = True
    counts: str | None = None
    study: Told | None = None

    def keywords(self) -> dict[str, Any]:
        """As keyword arguments, all of them plain JSON values."""
        return {
            "name": self.name,
            "output": self.output,
            "sources": self.sources,
            "rate_hz": self.rate_hz,
            "kernels": self.kernels,
            "annotations": self.annotations,
            "counts": self.counts,
        }

    def for_child(self) -> str:
        """The same as JSON, for ``_launch``."""
        told = None if self.study is None else self.study.to_json()
        return json.dumps({**self.keywords(), "told": told})


def main(argv: Sequence[str]) -> int:
    """Run the program and give back its exit status."""
    parser, valued = _parser()
    own, words = split(argv, valued)
    args = parser.parse_args(own)
    target = resolve(words)
    study = _study_run.told(args)
    began_s = time.time()
    with contextlib.ExitStack() as stack:
        machine = stack.enter_context(_json_output(args.json)) if args.json else None
        folder = _prepare_output(Path(args.output), force=args.force) if args.output else None
        if folder is None and target.kind != "command":
            folder = stack.enter_context(_temporary_output())
        output = None if folder is None else str(folder)
        settings = Settings(
            args.name or target.name,
            output,
            args.sources,
            args.rate_hz,
            args.kernels,
            args.annotations,
            _counts(args.counts),
            study,
        )
        if study is not None:
            _study_run.announce(study)

        progress = StatusLine.for_terminal() if not args.quiet else None
        if target.kind == "command":
            measure = _run_command
        else:
            measure = _run_unmeasured if output is None else _run_python
        wait_status, finish = measure(target, settings, progress)

        status = exit_status(wait_status)
        if not args.quiet:
            notice = death_notice(wait_status)
            if notice:
                _terminal.note(notice)
        # The program has run and its status is what counts: nothing below may change it.
        try:
            profile = finish(machine is not None or not args.quiet)
            if profile is not None and not args.quiet:
                _summarize(profile, target)
                if args.output:
                    _terminal.note(f"the run is kept in {args.output}")
            if profile is not None and machine is not None:
                _write_json(machine, profile, target, wait_status)
            if study is not None:
                kept = args.output is not None
                _study_run.settle(study, wait_status, began_s, trace_is_kept=kept)
        except KeyboardInterrupt:
            pass
        except BrokenPipeError:
            _terminal.discard_stdout()
        except Exception as error:
            _fail_quietly("there is no summary", error)
    return status


def _parser() -> tuple[argparse.ArgumentParser, frozenset[str]]:
    """The parser, and those of its options that take a value."""
    parser = argparse.ArgumentParser(
        prog="picojoule run",
        usage="picojoule run [options] [--] (SCRIPT.py | -m MODULE | COMMAND) [arguments]",
        description="Run a program unchanged and show the joules it used, on stderr.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    valued = [
        parser.add_argument(
            "-o",
            "--output",
            metavar="DIR",
            help="keep the run in this folder, for 'report' and 'export'",
        ),
        parser.add_argument("--name", help="what to call the run (default: the program's name)"),
        parser.add_argument(
            "--sources",
            metavar="A,B",
            type=_names,
            help="use just these meters (default: all that work here; see 'picojoule doctor')",
        ),
        parser.add_argument(
            "--rate-hz", metavar="R", type=_rate, help="how often to ask meters that do not tick"
        ),
        parser.add_argument(
            "--kernels",
            choices=("all", "sums", "overlay", "off"),
            help="which of a GPU's kernels to keep: each (all, the default), their sums, none and "
            "the vendor's library left to another profiler (overlay), or none (off)",
        ),
        parser.add_argument(
            "--counts", metavar="FILE", help="FLOPs and bytes of kernels, from 'picojoule count'"
        ),
        parser.add_argument(
            "--json", metavar="FILE", help="also write the summary as JSON; '-' is stdout"
        ),
        *_study_run.add_options(parser),
    ]
    parser.add_argument(
        "--no-annotations",
        dest="annotations",
        action="store_false",
        help="leave out NVTX ranges and PyTorch's record_function, which count as regions else",
    )
    parser.add_argument("--force", action="store_true", help="with -o: overwrite an older run")
    parser.add_argument("-q", "--quiet", action="store_true", help="show no summary")
    return parser, frozenset(option for action in valued for option in action.option_strings)


def _counts(path: str | None) -> str | None:
    """The file, looked at before the program runs and not after."""
    if path is None:
        return None
    from picojoule._counts import load_counts

    load_counts(path)
    return str(Path(path).absolute())  # the program may change its folder


def _names(text: str) -> list[str]:
    names: list[str] = []
    for name in filter(None, (part.strip() for part in text.split(","))):
        # The commas of "simulate:SENSOR,name=value" are its own.
        if names and names[-1].startswith("simulate:") and "=" in name and ":" not in name:
            names[-1] += "," + name
        else:
            names.append(name)
    if not names:
        raise argparse.ArgumentTypeError("expected names with commas between them")
    return names


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not 0 < rate < math.inf:
        raise argparse.ArgumentTypeError(f"expected a positive number, got {text!r}")
    return rate


# -- Where the run goes ----------------------------------------------------------------------------


def _prepare_output(folder: Path, *, force: bool) -> Path:
    """Make sure that a new folder can be made there, before anything is run."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"-o {folder}: this is a file; a run is kept in a folder")
    try:
        if folder.is_dir():
            if any(folder.iterdir()):
                _clear_older_run(folder, force=force)
            folder.rmdir()
        folder.mkdir(parents=True)
        folder.rmdir()  # pj.profile makes it, and insists on that
    except OSError as error:
        raise UsageError(f"-o {folder}: cannot be written: {error.strerror}") from error
    return folder.absolute()


def _clear_older_run(folder: Path, *, force: bool) -> None:
    files = list(folder.iterdir())
    if not all(file.is_file() and not file.is_symlink() for file in files) or not _is_run(folder):
        raise UsageError(f"-o {folder}: the folder holds something that is not a run; not touched")
    if not force:
        raise UsageError(f"-o {folder}: holds an older run; --force overwrites it")
    for file in files:
        file.unlink()


def _is_run(folder: Path) -> bool:
    import picojoule as pj

    try:
        pj.load(str(folder))
    except ForeignTraceError:
        return False
    except TraceError:
        return True  # of another version, or cut off: a run all the same
    return True


@contextlib.contextmanager
def _temporary_output() -> Iterator[Path | None]:
    try:
        folder = tempfile.TemporaryDirectory(prefix="picojoule-", ignore_cleanup_errors=True)
    except OSError as error:
        _fail_quietly("nothing is measured, the program runs without", error)
        yield None
        return
    with folder as path:
        yield Path(path, "run.pj")


@contextlib.contextmanager
def _json_output(destination: str) -> Iterator[TextIO]:
    if destination == "-":
        yield sys.stdout
        return
    try:
        file = Path(destination).open("w", encoding="utf-8")  # noqa: SIM115
    except OSError as error:
        raise UsageError(f"--json {destination}: cannot be written: {error.strerror}") from error
    with file:
        yield file


# -- Running ---------------------------------------------------------------------------------------


def _run_python(
    target: Target, settings: Settings, progress: StatusLine | None
) -> tuple[int, Finish]:
    """Run a Python program in a child that measures itself."""
    argv = [
        sys.executable,
        *interpreter_flags(),
        str(Path(__file__).with_name("_launch.py")),
        target.kind,
        settings.for_child(),
        *target.words,
    ]
    with signals_held() as supervisor:
        pid = supervisor.spawn(sys.executable, argv)
        wait_status = _wait(supervisor, pid, progress, lambda: _load(settings.output))
    return wait_status, lambda wanted: _load(settings.output) if wanted else None


def _run_command(
    target: Target, settings: Settings, progress: StatusLine | None
) -> tuple[int, Finish]:
    """Run any command, measured from here."""
    import picojoule as pj

    def finish(_: bool = True) -> Profile | None:
        if opened is None:
            return None
        opened.__exit__(None, None, None)
        profile: Profile = opened.result  # also when nobody looks: this finishes the output
        return profile

    with signals_held() as supervisor:
        try:
            opened: Any = pj.profile(**settings.keywords(), study=settings.study)
            opened.__enter__()
        except (UsageError, NoMeterError):
            raise  # what was asked for is not here, and nothing has run yet
        except Exception as error:
            opened = None
            _fail_quietly("nothing is measured, the program runs without", error)
        try:
            pid = supervisor.spawn(target.executable, target.words)
        except OSError as error:
            _spawn_failed(target, error)
            finish()
            return 126 << 8, lambda _: None
        snapshot = opened.snapshot if opened is not None else lambda: None
        wait_status = _wait(supervisor, pid, progress, snapshot)
    return wait_status, finish


def _run_unmeasured(
    target: Target, settings: Settings, progress: StatusLine | None
) -> tuple[int, Finish]:
    """Run the program all the same."""
    words, executable = target.words, target.executable
    if target.kind != "command":
        executable = sys.executable
        module = ["-m"] if target.kind == "module" else []
        words = (executable, *interpreter_flags(), *module, *words)
    with signals_held() as supervisor:
        try:
            pid = supervisor.spawn(executable, words)
        except OSError as error:
            _spawn_failed(target, error)
            return 126 << 8, lambda _: None
        return supervisor.wait(pid), lambda _: None


def _spawn_failed(target: Target, error: OSError) -> None:
    _terminal.complain(f"{target.executable!r} cannot be executed: {error.strerror}")


def _wait(
    supervisor: Supervisor,
    pid: int,
    progress: StatusLine | None,
    snapshot: Callable[[], Profile | None],
) -> int:
    if progress is None:
        return supervisor.wait(pid)
    try:
        return supervisor.wait(pid, lambda: progress.update(snapshot))
    finally:
        progress.clear()


def _load(folder: str | None) -> Profile | None:
    """What was recorded so far; None if nothing was, which whoever failed has said already."""
    if folder is None or not Path(folder).is_dir() or not any(Path(folder).iterdir()):
        return None
    import picojoule as pj

    profile: Profile = pj.load(folder)
    return profile


# -- Telling ---------------------------------------------------------------------------------------


def _summarize(profile: Profile, target: Target) -> None:
    if sys.stderr is None:
        return
    from picojoule.reports import table

    text = table.render(
        profile, width=_terminal.width(sys.stderr), color=_terminal.color(sys.stderr)
    )
    with contextlib.suppress(OSError):
        sys.stderr.write(text.rstrip("\n") + "\n")
        sys.stderr.flush()
    if target.hides_script and not len(profile.regions):
        _terminal.note("for the regions of a script give it without the interpreter before it")


def _write_json(file: TextIO, profile: Profile, target: Target, wait_status: int) -> None:
    import picojoule.reports.json_ as json_

    summary = dict(json_.to_dict(profile))
    summary["run"] = {
        "kind": target.kind,
        "program": list(target.words),
        "exit_status": exit_status(wait_status),
        "signal": os.WTERMSIG(wait_status) if os.WIFSIGNALED(wait_status) else None,
    }
    file.write(json.dumps(summary, indent=2, allow_nan=False) + "\n")
    file.flush()


def _fail_quietly(what: str, error: Exception) -> None:
    """Warn, unless someone debugs picojoule itself."""
    if os.environ.get("PICOJOULE_DEBUG", "0") not in ("", "0"):
        raise error
    name = "" if isinstance(error, PicojouleError) else f"{type(error).__name__}: "
    _terminal.warn(f"{what}: {name}{error}")
