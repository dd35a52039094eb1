"""``picojoule run`` as its users meet it: a program cannot tell that it is measured."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from picojoule.cli import main

PICOJOULE = [sys.executable, "-m", "picojoule"]
TIMEOUT_S = 60


def environment(**changes):
    unwanted = ("NO_COLOR", "FORCE_COLOR", "PICOJOULE_DEBUG", "COLUMNS")
    inherited = {k: v for k, v in os.environ.items() if k not in unwanted}
    return {**inherited, **changes}


def complete(argv, cwd, stdin="", **changes):
    """Run ``argv`` to its end; if it hangs, end all that it started and fail."""
    process = subprocess.Popen(
        list(map(str, argv)),
        cwd=cwd,
        env=environment(**changes),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    try:
        out, err = process.communicate(stdin, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        pytest.fail(f"hangs: {argv}\n{out}\n{err}")
    return subprocess.CompletedProcess(argv, process.returncode, out, err)


def call(*words, cwd, plain=False, **more):
    """Run the program under picojoule, or plainly by Python."""
    head = [sys.executable] if plain else [*PICOJOULE, "run"]
    return complete([*head, *words], cwd, **more)


def shell(line, *words, cwd, **changes):
    """Let bash run ``line``, in which ``"$@"`` is picojoule running ``words``."""
    return complete(["bash", "-c", line, "-", *PICOJOULE, "run", *words], cwd, **changes)


@pytest.fixture
def script(tmp_path):
    def write(text, name="prog.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return name

    return write


def start_when_ready(*words, cwd, **more):
    """Start a program under picojoule and wait until it has printed its first line."""
    process = subprocess.Popen(
        [*PICOJOULE, "run", *words],
        cwd=cwd,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )
    return process, process.stdout.readline().strip()


# -- A program cannot tell -------------------------------------------------------------------------

SELF_PORTRAIT = """\
    '''Its own docstring.'''
    import json, os, sys
    main = sys.modules["__main__"]
    print(json.dumps({
        "argv": sys.argv,
        "path0": sys.path[0],
        "path": sys.path,
        "globals": {k: type(v).__name__ for k, v in sorted(vars(main).items())},
        "own": vars(main) is globals(),
        "name": __name__, "file": __file__, "doc": __doc__, "package": __package__,
        "spec": getattr(__spec__, "name", None), "cached": __cached__,
        "loader": type(__loader__).__name__, "flags": list(sys.flags), "cwd": os.getcwd(),
        "hook": sys.excepthook is sys.__excepthook__,
        "environment": sorted(os.environ),
        "signals": open("/proc/self/status").read().split("SigBlk:")[1].splitlines()[0],
        "ignored": int(open("/proc/self/status").read().split("SigIgn:")[1].split()[0], 16)
        & 0x7FFFFFFF,  # not the two that libc keeps for itself
        "descriptors": sorted(os.listdir("/proc/self/fd"))[:3],
    }, indent=1))
"""


@pytest.mark.parametrize(
    "words",
    [
        ["prog.py"],
        ["./prog.py", "-q", "--json", "-", "-m", "x", "--"],
        ["inner/prog.py", "a b"],
        ["link.py"],
        ["inner/../prog.py"],
        ["-m", "prog", "-m", "y"],
        ["-m", "package"],
        ["-m", "package.part", "1"],
    ],
)
def test_same_main_argv_path_and_flags(words, script, tmp_path):
    for name in ("prog.py", "inner/prog.py", "package/__main__.py", "package/part.py"):
        script(SELF_PORTRAIT, name)
    script("", "package/__init__.py")
    (tmp_path / "link.py").symlink_to("inner/prog.py")
    # Twice, so that both runs of a module find it compiled.
    call(*words, cwd=tmp_path, plain=True)
    plain = call(*words, cwd=tmp_path, plain=True)
    measured = call("-q", "--", *words, cwd=tmp_path)
    assert json.loads(measured.stdout) == json.loads(plain.stdout)
    assert (measured.returncode, measured.stderr) == (0, plain.stderr)


@pytest.mark.parametrize("flags", [["-O", "-W", "ignore"], ["-X", "dev"], ["-I"]])
def test_same_with_interpreter_flags(flags, script, tmp_path):
    name = script(SELF_PORTRAIT)
    plain = complete([sys.executable, *flags, name], tmp_path)
    measured = complete([sys.executable, *flags, "-m", "picojoule", "run", "-q", name], tmp_path)
    if "-I" in flags and "No module named picojoule" in measured.stderr:
        pytest.skip("picojoule is not installed but on PYTHONPATH, which -I leaves out")
    assert measured.stdout == plain.stdout


@pytest.mark.parametrize(
    "text",
    [
        "def f():\n    return 1 / 0\nf()\n",
        "import sys; sys.exit(3)",
        "import sys; sys.exit('farewell')",
        "import sys; sys.exit()",
        "raise SystemExit(256 + 4)",
        "this is not python",
        "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise KeyError('k') from e\n",
        "import sys; sys.excepthook = lambda *a: print('hook', *a[:2])\nraise OSError",
        "import no_such_module_anywhere",
        "# coding: latin-1\nraise ValueError('\xe9')",
        "import os; os._exit(5)",
        "import threading, time\n"
        "threading.Thread(target=lambda: (time.sleep(.2), print('late'))).start()\n",
        "import atexit; atexit.register(print, 'bye', __name__)",
        "raise ExceptionGroup('g', [ValueError(1), TypeError(2)])",
        "def f(n):\n    f(n + 1)\ntry:\n    f(0)\nexcept RecursionError:\n    print('deep')\n",
    ],
)
@pytest.mark.parametrize("head", [["prog.py"], ["-m", "prog"]], ids=["script", "module"])
def test_same_output_traceback_and_status(text, head, script, tmp_path):
    script(text)
    plain = call(*head, cwd=tmp_path, plain=True)
    measured = call("-q", *head, cwd=tmp_path)
    assert measured.stdout == plain.stdout
    assert measured.stderr == plain.stderr
    assert measured.returncode == plain.returncode


def test_missing_module_is_told_as_python_does(tmp_path):
    plain = call("-m", "no_such_module_anywhere", cwd=tmp_path, plain=True)
    measured = call("-q", "-m", "no_such_module_anywhere", cwd=tmp_path)
    assert (measured.returncode, measured.stderr) == (plain.returncode, plain.stderr)


def test_a_folder_named_picojoule_does_not_get_in_the_way(script, tmp_path):
    script("raise SystemExit('wrong picojoule')", "picojoule/__init__.py")
    name = script("print('fine')", "elsewhere/prog.py")
    # As the installed command starts; 'python -m picojoule' would find the folder by itself.
    command = "import sys; del sys.path[0]; from picojoule.cli import main; sys.exit(main())"
    done = complete([sys.executable, "-c", command, "run", name], tmp_path)
    assert (done.returncode, done.stdout) == (0, "fine\n"), done.stderr
    assert "J" in done.stderr


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_multiprocessing(method, script, tmp_path):
    name = script(f"""
        import multiprocessing as mp
        class Thing:
            def __init__(self, x): self.x = x
        def work(thing): return Thing(thing.x + 1)
        if __name__ == "__main__":
            with mp.get_context("{method}").Pool(2) as pool:
                print([t.x for t in pool.map(work, [Thing(1), Thing(2)])])
    """)
    done = call(name, cwd=tmp_path)
    assert done.stdout == "[2, 3]\n", done.stderr
    assert done.returncode == 0
    assert "J" in done.stderr


def test_forked_child_that_exits_normally_does_not_end_the_profile(script, tmp_path):
    name = script("""
        import os, sys, time
        pid = os.fork()
        if pid == 0:
            sys.exit(0)
        os.waitpid(pid, 0)
        time.sleep(0.5)
    """)
    done = call("--json", "out.json", name, cwd=tmp_path)
    assert done.returncode == 0
    summary = json.loads((tmp_path / "out.json").read_text())
    assert summary["duration_s"] > 0.5


# -- Streams ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["prog.py"], ["cat"]])
def test_stdin_passes_through(words, script, tmp_path):
    script("import sys; sys.stdout.write(sys.stdin.read())")
    done = call(*words, cwd=tmp_path, stdin="one\ntwo\n")
    assert done.stdout == "one\ntwo\n"


def test_stdin_is_the_terminal_of_the_program(script, tmp_path):
    script("import sys; print(sys.stdin.isatty(), input())")
    main_end, program_end = pty.openpty()
    process = subprocess.Popen(
        [*PICOJOULE, "run", "-q", "prog.py"],
        cwd=tmp_path,
        stdin=program_end,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    os.write(main_end, b"typed\n")
    out, _ = process.communicate(timeout=TIMEOUT_S)
    os.close(main_end)
    os.close(program_end)
    assert out == "True typed\n"


def test_open_files_are_inherited(tmp_path):
    done = shell('"$@" 3< <(echo through)', "-q", "sh", "-c", "cat <&3", cwd=tmp_path)
    assert done.stdout == "through\n", done.stderr


def test_summary_goes_to_stderr_alone(script, tmp_path):
    name = script("print('mine')")
    done = call(name, cwd=tmp_path)
    assert done.stdout == "mine\n"
    assert "prog.py" in done.stderr
    assert "\x1b" not in done.stderr


def test_quiet_says_nothing(tmp_path):
    done = call("-q", "sh", "-c", "kill -9 $$", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (137, "", "")


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("words", [["prog.py"], ["sh", "-c", "exit 3"]])
def test_closed_streams_are_no_fault(closed, words, script, tmp_path):
    script("raise SystemExit(3)")
    done = shell(f'"$@" {closed}', *words, cwd=tmp_path)
    assert done.returncode == 3
    assert "error" not in done.stdout + done.stderr


def test_interpreter_as_command_is_told_how_to_get_regions(script, tmp_path):
    name = script("print('fine')")
    done = call(sys.executable, name, cwd=tmp_path)
    assert done.stdout == "fine\n"
    assert "without the interpreter" in done.stderr
    assert "without the interpreter" not in call(sys.executable, "-c", "1", cwd=tmp_path).stderr


def test_color_as_the_environment_wants(tmp_path):
    assert "\x1b[" in call("true", cwd=tmp_path, FORCE_COLOR="1").stderr
    assert "\x1b" not in call("true", cwd=tmp_path, FORCE_COLOR="1", NO_COLOR="1").stderr


def test_json_to_stdout_and_file(script, tmp_path):
    name = script("raise SystemExit(4)")
    done = call("-q", "--json", "-", name, "arg", cwd=tmp_path)
    assert done.returncode == 4
    summary = json.loads(done.stdout)
    assert summary["run"] == {
        "kind": "script",
        "program": ["prog.py", "arg"],
        "exit_status": 4,
        "signal": None,
    }
    call("--name", "called", "--json=out.json", "true", cwd=tmp_path)
    assert json.loads((tmp_path / "out.json").read_text())["name"] == "called"


def test_json_to_a_closed_pipe_keeps_the_status(tmp_path):
    line = '"$@" | true; exit ${PIPESTATUS[0]}'
    done = shell(line, "-q", "--json", "-", "sh", "-c", "sleep 0.3; exit 6", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (6, "")


# -- Statuses and signals --------------------------------------------------------------------------


@pytest.mark.parametrize("status", [0, 1, 7, 255])
def test_status_passes_through(status, script, tmp_path):
    name = script(f"raise SystemExit({status})")
    assert call(name, cwd=tmp_path).returncode == status
    assert call("sh", "-c", f"exit {status}", cwd=tmp_path).returncode == status


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
@pytest.mark.parametrize("kind", ["script", "command"])
def test_killed_program_is_told_and_still_summed_up(number, kind, script, tmp_path):
    name = script(f"""
        import os, time
        time.sleep(0.3)
        os.kill(os.getpid(), {int(number)})
    """)
    command = ["sh", "-c", f"ulimit -c 0; sleep 0.3; kill -{int(number)} $$"]
    done = call(*([name] if kind == "script" else command), cwd=tmp_path)
    assert done.returncode == 128 + number
    assert f"killed by signal {int(number)} ({number.name})" in done.stderr
    assert len(done.stderr.splitlines()) > 1, "no table"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGINT])
@pytest.mark.parametrize("kind", ["script", "command"])
def test_signals_sent_to_us_alone_are_passed_on(number, kind, script, tmp_path):
    name = script(f"""
        import signal, sys, time
        def handler(number, frame):
            print("got", number, flush=True)
            sys.exit(9)
        signal.signal({int(number)}, handler)
        print("ready", flush=True)
        time.sleep(30)
    """)
    words = [name] if kind == "script" else [sys.executable, "-u", name]
    process, line = start_when_ready(*words, cwd=tmp_path)
    assert line == "ready"
    process.send_signal(number)
    out, err = process.communicate(timeout=TIMEOUT_S)
    assert out == f"got {int(number)}\n"
    assert process.returncode == 9
    assert "J" in err


def test_ignored_hangup_stays_ignored(script, tmp_path):
    name = script("import time\nprint('ready', flush=True)\ntime.sleep(1)\nprint('survived')")
    process, _ = start_when_ready(
        name,
        cwd=tmp_path,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),  # as nohup does
    )
    process.send_signal(signal.SIGHUP)
    out, _ = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, out) == (0, "survived\n")


def in_a_terminal(cwd, *words):
    """Start picojoule as the foreground job of a new terminal; its pid and the terminal."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(cwd)
        os.execve(sys.executable, [*PICOJOULE, "run", *words], environment(TERM="xterm"))
    return pid, terminal


def read_until(terminal, text, timeout_s=TIMEOUT_S):
    seen = b""
    os.set_blocking(terminal, False)
    end = time.monotonic() + timeout_s
    while text not in seen and time.monotonic() < end:
        try:
            seen += os.read(terminal, 4096)
        except BlockingIOError:
            time.sleep(0.02)
        except OSError:  # the other end is closed
            break
    assert text in seen, seen
    return seen


@pytest.mark.parametrize("kind", ["script", "command"])
def test_ctrl_c_reaches_the_program_once_and_we_outlive_it(kind, script, tmp_path):
    name = script("""
        import signal, sys, time
        count = 0
        def handler(number, frame):
            global count
            count += 1
        signal.signal(signal.SIGINT, handler)
        print("ready", flush=True)
        end = time.monotonic() + 1
        while time.monotonic() < end:
            time.sleep(0.05)
        print("interrupts:", count, flush=True)
        sys.exit(11)
    """)
    words = [name] if kind == "script" else [sys.executable, name]
    pid, terminal = in_a_terminal(tmp_path, *words)
    read_until(terminal, b"ready")
    os.write(terminal, b"\x03")
    read_until(terminal, b"interrupts: 1")
    read_until(terminal, b"J")
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 11


def test_ctrl_c_on_a_program_that_does_not_care(script, tmp_path):
    name = script("import time\nprint('ready', flush=True)\ntime.sleep(30)")
    pid, terminal = in_a_terminal(tmp_path, name)
    read_until(terminal, b"ready")
    os.write(terminal, b"\x03")
    seen = read_until(terminal, b"J")
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 130
    assert seen.count(b"KeyboardInterrupt") == 1
    assert b"picojoule/cli" not in seen


def test_a_program_that_stops_itself_stops_us(script, tmp_path):
    """As a shell needs it to give its prompt back; and both go on together."""
    name = script("""
        import os, signal
        print("ready", flush=True)
        os.kill(os.getpid(), signal.SIGTSTP)
        print("continued", flush=True)
    """)
    # A group of its own, not orphaned: its parent, this test, is in another of the same session.
    process, line = start_when_ready(name, cwd=tmp_path, process_group=0)
    assert line == "ready"
    stopped, status = os.waitpid(process.pid, os.WUNTRACED)
    assert stopped == process.pid
    assert os.WIFSTOPPED(status)
    os.kill(process.pid, signal.SIGCONT)
    out, _ = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, out) == (0, "continued\n")


# -- The trace -------------------------------------------------------------------------------------


def test_output_is_kept_and_can_be_reported(script, tmp_path):
    name = script("""
        import picojoule as pj, time
        with pj.region("slow part"):
            time.sleep(0.3)
    """)
    done = call("-o", "kept/run.pj", name, cwd=tmp_path)
    assert done.returncode == 0
    assert "kept/run.pj" in done.stderr
    assert "slow part" in done.stderr
    again = subprocess.run(
        [*PICOJOULE, "report", "kept/run.pj"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=True,
    )
    assert "slow part" in again.stdout


def test_without_output_nothing_is_left(tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    call("true", cwd=tmp_path, TMPDIR=str(scratch))
    assert list(scratch.iterdir()) == []


def test_an_older_run_is_overwritten_only_by_force(tmp_path):
    assert call("-o", "run.pj", "true", cwd=tmp_path).returncode == 0
    refused = call("-o", "run.pj", "touch", "ran", cwd=tmp_path)
    assert refused.returncode == 2
    assert "--force" in refused.stderr
    assert not (tmp_path / "ran").exists()
    assert call("-o", "run.pj", "--force", "true", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_a_folder_with_other_things_is_never_touched(force, tmp_path):
    precious = tmp_path / "folder" / "thesis.tex"
    precious.parent.mkdir()
    precious.write_text("years")
    done = call("-o", "folder", *force, "touch", "ran", cwd=tmp_path)
    assert done.returncode == 2
    assert precious.read_text() == "years"
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("option", ["-o", "--json"])
def test_unwritable_destination_is_refused_before_anything_runs(option, tmp_path):
    (tmp_path / "file").write_text("")
    done = call(option, "file/below", "touch", "ran", cwd=tmp_path)
    assert done.returncode == 2
    assert option in done.stderr
    assert not (tmp_path / "ran").exists()


def test_unknown_meter_is_refused_before_anything_runs(script, tmp_path):
    name = script("open('ran', 'w')")
    for words in ([name], ["touch", "ran"]):
        done = call("--sources", "nosuchmeter", *words, cwd=tmp_path)
        assert done.returncode in (1, 2)
        assert "nosuchmeter" in done.stderr
        assert done.stderr.count("\n") == 1
        assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("words", [["prog.py"], ["echo", "ran"]])
def test_the_program_runs_even_if_nothing_can_be_recorded(words, script, tmp_path):
    script("print('ran')")
    no_file_may_grow = 'ulimit -f 0; "$@"'
    done = shell(no_file_may_grow, *words, cwd=tmp_path, PYTHONDONTWRITEBYTECODE="1")
    assert (done.returncode, done.stdout) == (0, "ran\n")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [["prog.py"], ["-m", "prog"]])
def test_the_program_runs_even_without_a_temporary_folder(
    words, script, tmp_path, monkeypatch, capfd
):
    def full(**_):
        raise OSError(28, "No space left on device")

    script("print('ran')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.TemporaryDirectory", full)
    assert main(["run", *words]) == 0
    out, err = capfd.readouterr()
    assert out == "ran\n"
    assert err.startswith("picojoule: warning: nothing is measured")


def test_nested(script, tmp_path):
    script("print('inside')")
    done = call(*PICOJOULE, "run", "prog.py", cwd=tmp_path)
    assert done.stdout == "inside\n"
    assert done.returncode == 0


def test_processes_below_a_command_are_counted(tmp_path):
    busy = "sum(i * i for i in range(10**7))"
    command = ["sh", "-c", f'"{sys.executable}" -c "{busy}"; true']
    idle = call("-q", "--sources", "cpu_estimate", "--json", "-", "sleep", "0.5", cwd=tmp_path)
    work = call("-q", "--sources", "cpu_estimate", "--json", "-", *command, cwd=tmp_path)
    assert json.loads(work.stdout)["energy_j"] > json.loads(idle.stdout)["energy_j"]


def test_the_command_line_imports_no_numpy():
    code = "import sys, picojoule.cli, picojoule.cli.run; print('numpy' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=TIMEOUT_S, check=True
    )
    assert done.stdout == "False\n"


def test_installed_command():
    command = Path(sys.executable).with_name("picojoule")
    if not command.exists():
        pytest.skip("picojoule is not installed in this environment")
    done = subprocess.run(
        [command, "--version"], capture_output=True, text=True, timeout=TIMEOUT_S, check=True
    )
    assert done.stdout.startswith("picojoule ")
