"""What ``picojoule run`` needs to put the run into a study."""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from picojoule.cli import _terminal
from picojoule.errors import LedgerError, UsageError

if TYPE_CHECKING:
    from picojoule.green.recording import Told


def add_options(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Add the options, all of which take a value."""
    group = parser.add_argument_group("the study that the run belongs to")
    return [
        group.add_argument("--study", metavar="NAME", help="write the run into the study's ledger"),
        group.add_argument(
            "--role",
            metavar="ROLE",
            help="what the run is for: tune (the default), final, ablation, debug or eval",
        ),
        group.add_argument(
            "--config",
            metavar="JSON|K=V",
            action="append",
            help="hyper-parameters: a JSON object, or lr=0.1; may be given several times",
        ),
        group.add_argument("--fold", metavar="F", help="which fold of a cross-validation"),
        group.add_argument("--seed", metavar="S", help="its seed"),
    ]


def told(args: argparse.Namespace) -> Told | None:
    """The study of the options; None without one.

    Raises:
        UsageError: an option of a study without one, an unknown role, or no valid configuration.
    """
    if args.study is None and not (args.role or args.config or args.fold or args.seed):
        return None
    import uuid

    from picojoule.green import recording

    config = config_of(args.config)
    return recording.told(args.study, args.role, config, args.fold, args.seed, uuid.uuid4().hex)


def config_of(words: list[str] | None) -> dict[str, Any] | None:
    """Hyper-parameters of ``--config`` options; None if there are none.

    Raises:
        UsageError: one is neither a JSON object nor ``name=value``.
    """
    if not words:
        return None
    config: dict[str, Any] = {}
    for word in words:
        if word.lstrip().startswith("{"):
            try:
                config.update(json.loads(word))
            except ValueError as error:
                raise UsageError(f"--config {word}: no JSON object ({error})") from None
            continue
        name, equals, value = word.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"--config {word}: write name=value, or a JSON object")
        try:
            config[name.strip()] = json.loads(value)
        except ValueError:
            config[name.strip()] = value
    return config


def announce(told: Told) -> None:
    """Let runs of the same study that the program makes know that they are inside of this one."""
    from picojoule.green.recording import INSIDE

    os.environ[INSIDE] = f"{told.uid} {told.study}"


def settle(told: Told, wait_status: int, began_s: float, *, trace_is_kept: bool) -> None:
    """Write how the program ended: only whoever waited for it knows that for sure."""
    from picojoule.green import keys, ledger, process, recorder
    from picojoule.green.model import Run

    status, error = _how(wait_status)
    recorder.flush(5.0)
    book = ledger.Ledger(told.ledger)
    try:
        found = book.runs(uid=told.uid) if book.path.exists() else []
        if found:
            run = found[0]
            if math.isnan(run.duration_s):
                run = replace(run, duration_s=max(0.0, time.time() - began_s))
        else:  # it could not be measured, or not begin
            run = Run(
                told.uid,
                told.study,
                role=told.role,
                config=told.config,
                config_hash=told.config_hash,
                fold=told.fold,
                seed=told.seed,
                begin_wall_s=began_s,
                duration_s=max(0.0, time.time() - began_s),
                host=process.here().host,
                versions=keys.versions(),
                energy_basis="nothing was measured",
            )
        error = run.error if run.status == "failed" and status == "failed" else error
        book.add(replace(run, status=status, error=error, trace=run.trace if trace_is_kept else ""))
    except LedgerError as trouble:
        _terminal.warn(f"how the run ended is not in the ledger: {trouble}")


def _how(wait_status: int) -> tuple[str, str]:
    if os.WIFSIGNALED(wait_status):
        number = os.WTERMSIG(wait_status)
        try:
            name = signal.Signals(number).name
        except ValueError:
            name = f"signal {number}"
        polite = number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        return "interrupted" if polite else "failed", f"killed by {name}"
    code = os.WEXITSTATUS(wait_status)
    if code == 0:
        return "ok", ""
    return "interrupted" if code == 130 else "failed", f"exit status {code}"
