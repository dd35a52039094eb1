"""What ``picojoule run`` shall run, told from its words; all checks that need no running."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from picojoule.errors import PicojouleError, UsageError

Kind = Literal["script", "module", "command"]


class NotRunnableError(PicojouleError):
    """The command is not there (127) or cannot be executed (126), as a shell would say."""

    def __init__(self, message: str, exit_status: int) -> None:
        """Carry the exit status that a shell gives for it."""
        super().__init__(message)
        self.exit_status = exit_status


@dataclass(frozen=True, slots=True)
class Target:
    """A program and its arguments."""

    kind: Kind
    #: script: its path and arguments; module: its name and arguments; command: argv.
    words: tuple[str, ...]
    #: command: the file to execute.
    executable: str = ""

    @property
    def name(self) -> str:
        """A short name for the profile."""
        first = self.words[0]
        return first if self.kind == "module" else Path(first).name or first

    @property
    def hides_script(self) -> bool:
        """Whether this is a command of the form ``python script.py``."""
        interpreter = Path(self.words[0]).name.startswith("python")
        return (
            self.kind == "command"
            and interpreter
            and self.words[1:2] != ("-c",)
            and any(word.endswith(".py") for word in self.words[1:])
        )


def split(argv: Sequence[str], valued: frozenset[str]) -> tuple[list[str], list[str]]:
    """Split a command line into our own options and the program with its arguments.

    The program begins at ``--``, at ``-m``, or at the first word that is neither an option nor the
    value of one of the options in ``valued``. Nothing after that is looked at.
    """
    at = 0
    while at < len(argv):
        word = argv[at]
        if word == "--":
            return list(argv[:at]), list(argv[at + 1 :])
        if word == "-m" or not word.startswith("-") or word == "-":
            break
        at += 2 if word in valued else 1
    return list(argv[:at]), list(argv[at:])


def resolve(words: Sequence[str]) -> Target:
    """The target that ``words`` mean.

    Raises:
        UsageError: there is nothing to run, or the script is not there.
        NotRunnableError: the command is not there or not executable.
    """
    if not words:
        raise UsageError(
            "nothing to run; give a script, '-m MODULE' or a command, "
            "for example: picojoule run train.py --epochs 3"
        )
    first, rest = words[0], tuple(words[1:])
    if first == "-m":
        if not rest:
            raise UsageError("-m needs the name of a module")
        return Target("module", rest)
    if first.endswith(".py"):
        _check_script(first)
        return Target("script", (first, *rest))
    return Target("command", (first, *rest), _find_command(first))


def _check_script(script: str) -> None:
    path = Path(script)
    if path.is_dir():
        raise UsageError(f"{script!r} is a folder, not a script")
    if not path.exists():
        raise UsageError(f"there is no script {script!r} (looked in {Path.cwd()})")
    if not os.access(path, os.R_OK):
        raise UsageError(f"the script {script!r} may not be read by this user")


def _find_command(command: str) -> str:
    if "/" in command:
        path = Path(command)
        if not path.exists():
            raise NotRunnableError(f"there is no file {command!r}", 127)
        if not stat.S_ISREG(path.stat().st_mode) or not os.access(path, os.X_OK):
            raise NotRunnableError(f"{command!r} is not an executable file", 126)
        return command
    found = shutil.which(command)
    if found is not None:
        return found
    if Path(command).is_file():
        hint = f"; for the file in this folder write ./{command}"
    elif command.startswith("-"):
        hint = "; options of 'picojoule run' go before the program"
    else:
        hint = ""
    raise NotRunnableError(f"there is no command {command!r} on PATH{hint}", 127)
