"""The parts of the command line that need no program to run."""

from __future__ import annotations

import io
import math
import os
import signal

import pytest

from picojoule.cli import COMMANDS, _progress, _terminal, main
from picojoule.cli._supervise import death_notice, exit_status
from picojoule.cli._target import NotRunnableError, Target, resolve, split
from picojoule.errors import UsageError

VALUED = frozenset({"-o", "--output", "--json"})


@pytest.mark.parametrize(
    ("argv", "own", "program"),
    [
        ([], [], []),
        (["a.py"], [], ["a.py"]),
        (["-q", "a.py", "-q"], ["-q"], ["a.py", "-q"]),
        (["-o", "d", "a.py", "-o", "e"], ["-o", "d"], ["a.py", "-o", "e"]),
        (["--output=d", "a.py"], ["--output=d"], ["a.py"]),
        (["-q", "-m", "mod", "-q"], ["-q"], ["-m", "mod", "-q"]),
        (["-q", "--", "-m", "mod"], ["-q"], ["-m", "mod"]),
        (["--", "a", "--", "b"], [], ["a", "--", "b"]),
        (["--json", "-", "a"], ["--json", "-"], ["a"]),
        (["-o"], ["-o"], []),
    ],
)
def test_options_end_where_the_program_begins(argv, own, program):
    assert split(argv, VALUED) == (own, program)


def test_targets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.py").write_text("")
    assert resolve(["a.py", "-x"]) == Target("script", ("a.py", "-x"))
    assert resolve(["-m", "json.tool"]) == Target("module", ("json.tool",))
    assert resolve(["-m", "json.tool"]).name == "json.tool"
    shell = resolve(["sh", "-c", "true"])
    assert (shell.kind, shell.words, shell.name) == ("command", ("sh", "-c", "true"), "sh")
    assert os.access(shell.executable, os.X_OK)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "nothing to run"),
        (["-m"], "name of a module"),
        (["nowhere.py"], "no script 'nowhere.py'"),
        (["folder.py"], "folder"),
    ],
)
def test_senseless_targets(words, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(UsageError, match=says):
        resolve(words)


@pytest.mark.parametrize(
    ("word", "status", "says"),
    [
        ("no-such-command-here", 127, "PATH"),
        ("./absent", 127, "no file"),
        ("./plain", 126, "not an executable"),
        ("./", 126, "not an executable"),
        ("plain", 127, "./plain"),
        ("-c", 127, "before the program"),
    ],
)
def test_commands_that_cannot_run(word, status, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain").write_text("")
    with pytest.raises(NotRunnableError, match=says) as caught:
        resolve([word])
    assert caught.value.exit_status == status


def test_exit_status():
    assert exit_status(0) == 0
    assert exit_status(7 << 8) == 7
    assert exit_status(signal.SIGKILL) == 137
    assert exit_status(signal.SIGSEGV | 0x80) == 139  # with a core dump


def test_death_notice():
    assert death_notice(0) is None
    assert death_notice(1 << 8) is None
    assert death_notice(signal.SIGINT) is None
    assert death_notice(signal.SIGKILL) == "the program was killed by signal 9 (SIGKILL)"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.00 m"),
        (0.5, "500 m"),
        (1.0, "1.00 "),
        (9.999, "10.0 "),
        (1234.0, "1.23 k"),
        (99.96e3, "100 k"),
        (5e6, "5.00 M"),
        (math.nan, "? "),
    ],
)
def test_si(value, text):
    assert _progress.in_si(value) == text


def test_clock():
    assert _progress.clock(83.9) == "01:23"
    assert _progress.clock(3723) == "1:02:03"


class Tty(io.StringIO):
    def isatty(self):
        return True


def test_progress_waits_then_shows_then_goes(monkeypatch):
    stream = Tty()
    now = [100.0]
    monkeypatch.setattr(_progress.time, "monotonic", lambda: now[0])
    line = _progress.StatusLine(stream)
    line.clear()
    line.update(lambda: pytest.fail("too early to look"))
    assert stream.getvalue() == ""
    now[0] += 6

    def fails():
        raise RuntimeError

    line.update(fails)
    assert stream.getvalue() == "\r\x1b[Kpicojoule: 00:06"
    line.clear()
    assert stream.getvalue().endswith("\r\x1b[K")


def test_progress_only_where_it_disturbs_nobody(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr("sys.stderr", Tty())
    monkeypatch.setattr("sys.stdout", io.StringIO())
    assert _progress.StatusLine.for_terminal() is not None
    monkeypatch.setenv("CI", "true")
    assert _progress.StatusLine.for_terminal() is None
    monkeypatch.delenv("CI")
    monkeypatch.setattr("sys.stdout", Tty())
    assert _progress.StatusLine.for_terminal() is None


def test_color(monkeypatch):
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert _terminal.color(Tty())
    assert not _terminal.color(io.StringIO())
    assert not _terminal.color(None)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert _terminal.color(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not _terminal.color(Tty())
    monkeypatch.setenv("NO_COLOR", "")
    monkeypatch.delenv("FORCE_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert not _terminal.color(Tty())


def test_width(monkeypatch):
    monkeypatch.setenv("COLUMNS", "77")
    assert _terminal.width(io.StringIO()) == 77
    monkeypatch.setenv("COLUMNS", "wide")
    assert _terminal.width(io.StringIO()) is None


def test_version_and_help(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("picojoule ")
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {name}" in text for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command, capsys):
    assert main([command, "--help"]) == 0
    assert f"usage: picojoule {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["rnu"],
        ["--no-such-option"],
        ["run"],
        ["run", "--no-such-option", "true"],
        ["run", "--rate-hz", "0", "true"],
        ["run", "--rate-hz", "nan", "true"],
        ["run", "--sources", ",", "true"],
        ["run", "absent.py"],
        ["report"],
        ["report", "--width", "3", "x"],
        ["export", "x"],
        ["export", "x", "--to", "punchcards"],
    ],
)
def test_senseless_calls_exit_2_and_say_why(argv, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err != ""
    assert "Traceback" not in err


def test_own_faults_are_one_line_and_a_hint(capsys, monkeypatch):
    monkeypatch.delenv("PICOJOULE_DEBUG", raising=False)
    monkeypatch.setattr("picojoule.cli.doctor.main", lambda argv: 1 / 0)
    assert main(["doctor"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("picojoule: error: ZeroDivisionError")
    assert "PICOJOULE_DEBUG=1" in err
    assert err.count("\n") == 1
    monkeypatch.setenv("PICOJOULE_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        main(["doctor"])


def test_interrupted(monkeypatch):
    def interrupted(argv):
        raise KeyboardInterrupt

    monkeypatch.setattr("picojoule.cli.doctor.main", interrupted)
    assert main(["doctor"]) == 130
