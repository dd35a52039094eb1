"""``picojoule study``: the ledger of runs, and what a result cost."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from picojoule.cli import _study_tables, _terminal
from picojoule.errors import UsageError

_EPILOG = """\
The ledger is picojoule-ledger.db in the project's folder; PICOJOULE_LEDGER or --ledger names
another file, by path or URL (sqlite:////path). Runs get into it by pj.profile(study=...), by
'picojoule run --study NAME ...', and by 'picojoule study import'.

'picojoule study COMMAND --help' tells more.
"""


def main(argv: Sequence[str]) -> int:
    """Run one of the commands below."""
    parser = argparse.ArgumentParser(
        prog="picojoule study",
        description="What a result cost: all runs of a study, failed ones and searches too.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(
        name: str, action: Callable[[argparse.Namespace], int], summary: str
    ) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        one.add_argument("--ledger", metavar="FILE", help="another ledger than the project's")
        one.set_defaults(action=action)
        return one

    one = command("list", _list, "all studies of the ledger, the latest first")
    one.add_argument("--json", action="store_true", help="as JSON")

    one = command("show", _show, "the runs of a study, or all that is known of one run")
    one.add_argument("study", help="its name")
    one.add_argument("run", nargs="?", help="beginning of the id of a run")
    one.add_argument("--role", help="only runs of this role")
    one.add_argument("--status", help="only runs that ended like this")
    one.add_argument(
        "-n", "--limit", type=int, default=50, help="the last N runs (default 50; 0: all)"
    )
    one.add_argument("--json", action="store_true", help="as JSON")

    one = command("report", _report, "energy, CO2e, money, E x D x H and the next point's price")
    _study_and_settings(one)
    one.add_argument("-o", "--output", metavar="FILE", help="write an HTML page")
    one.add_argument("--score", help="which score, where there are several")

    one = command("export", _export, "a study as a block for a paper, a card or another tool")
    _study_and_settings(one)
    one.add_argument("-f", "--format", required=True, help="see --formats", metavar="FORMAT")
    one.add_argument("-o", "--output", metavar="FILE", help="default: stdout")

    one = command("set", _set, "keep settings of a study: region=GBR pue=1.2 ...")
    one.add_argument("study", help="its name")
    one.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="without any: show them")

    one = command("import", _import, "take in runs that another tool recorded")
    _import_options(one)

    one = command("merge", _merge, "take in other ledgers: of other machines, of co-workers")
    one.add_argument("others", nargs="+", metavar="FILE", help="ledgers")

    one = command("repair", _repair, "take in rows kept aside, and end runs that were killed")
    one.add_argument("files", nargs="*", metavar="FILE", type=Path, help="rows kept elsewhere")

    one = command("whatif", _whatif, "the cost with half the data, fewer trials, another region")
    _study_and_settings(one, region=False)
    one.add_argument("--data", type=float, metavar="X", help="times the data set: 0.5 is half")
    one.add_argument("--epochs", type=float, metavar="N", help="epochs")
    one.add_argument("--trials", type=int, metavar="N", help="configurations tried")
    one.add_argument("--folds", type=int, metavar="N", help="folds of each")
    one.add_argument("--seeds", type=int, metavar="N", help="seeds of each")
    one.add_argument("--region", metavar="PLACE", help="country, US state or cloud region")
    one.add_argument("--score", help="which score, where there are several")

    args = parser.parse_args(argv)
    status: int = args.action(args)
    return status


def _study_and_settings(parser: argparse.ArgumentParser, *, region: bool = True) -> None:
    parser.add_argument("study", help="its name")
    if region:
        parser.add_argument("--region", metavar="PLACE", help="country, US state or cloud region")
    parser.add_argument("--pue", metavar="X", help="facility energy over IT energy, or 'personal'")
    parser.add_argument("--device", metavar="NAME", help="models energies that nobody measured")
    parser.add_argument(
        "--set",
        dest="settings",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="any other setting for this call only (see 'picojoule study set --help')",
    )


def _import_options(parser: argparse.ArgumentParser) -> None:
    from picojoule.green.imports import FORMATS
    from picojoule.green.model import ROLES

    parser.add_argument("file", type=Path, help="what the other tool wrote")
    parser.add_argument("--study", required=True, metavar="NAME", help="which study they are of")
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help="; ".join(f"{name}: {what}" for name, (_, what) in FORMATS.items()).replace("%", "%%"),
    )
    parser.add_argument("--role", choices=ROLES, default="tune", help="what they were for")
    parser.add_argument(
        "--score", action="append", default=[], metavar="COLUMN", help="a column that is a score"
    )
    parser.add_argument(
        "--energy", default="", metavar="COLUMN:UNIT", help="the column with a run's energy"
    )
    parser.add_argument(
        "--power",
        default="",
        metavar="W",
        help="mean power of one device, '300 W' or '200-400 W': models unknown energies",
    )
    parser.add_argument("--device", default="", metavar="NAME", help="the hardware")
    parser.add_argument("--device-count", type=float, default=float("nan"), metavar="N")
    parser.add_argument("--region", default="", metavar="PLACE", help="where they ran")


# -- The commands ----------------------------------------------------------------------------------


def _ledger(args: argparse.Namespace) -> Any:
    from picojoule.green import ledger

    book = ledger.open(args.ledger)
    for words in book.take_in():
        _terminal.warn(words)
    return book


def _list(args: argparse.Namespace) -> int:
    book = _ledger(args)
    found = book.studies()
    if args.json:
        _print(json.dumps([_study_tables.summary_json(s) for s in found], indent=1))
    elif not found:
        _terminal.note(f"no runs in {book.path} yet; pj.profile(study='name') writes some")
    else:
        _print(_study_tables.studies(found))
    return 0


def _show(args: argparse.Namespace) -> int:
    book = _ledger(args)
    study = book.study(args.study)
    if args.run:
        found = [r for r in study if r.uid.startswith(args.run)]
        if len(found) != 1:
            raise UsageError(f"{len(found) or 'no'} runs of {args.study} begin with {args.run!r}")
        fields = _study_tables.run_json(found[0])
        text = json.dumps(fields, indent=1) if args.json else _study_tables.run(found[0])
        _print(text)
        return 0
    wanted = {"role": args.role, "status": args.status}
    study = study.where(**{name: value for name, value in wanted.items() if value is not None})
    if args.json:
        _print(json.dumps([_study_tables.run_json(r) for r in study], indent=1))
        return 0
    _print(_study_tables.runs(study, args.limit))
    return 0


def _report(args: argparse.Namespace) -> int:
    from picojoule.green import report
    from picojoule.green.columns import collector_held

    with collector_held():
        study, settings = _study(args, report.FIELDS)
        found = report.of(study, settings, score=args.score)
        if args.output:
            from picojoule.green import report_html

            report_html.write(found, args.output)
            _terminal.note(f"the report is {args.output}")
        else:
            from picojoule.green import report_text

            _print(report_text.render(found).rstrip("\n"))
    return 0


def _export(args: argparse.Namespace) -> int:
    study, settings = _study(args)
    if args.format in _study_tables.RAW:
        text = _study_tables.RAW[args.format](study)
    else:
        from picojoule.green import blocks, footprint

        if args.format not in blocks.FORMATS:
            known = ", ".join([*_study_tables.RAW, *blocks.FORMATS])
            raise UsageError(f"there is no format {args.format!r}; there are: {known}")
        text = blocks.render(args.format, study, footprint.of(study, settings))
    if args.output:
        Path(args.output).write_text(text.rstrip("\n") + "\n", encoding="utf-8")
    else:
        _print(text.rstrip("\n"))
    return 0


def _set(args: argparse.Namespace) -> int:
    from picojoule.green.recording import study_name
    from picojoule.green.study import checked_settings

    book = _ledger(args)
    if args.settings:
        book.set(study_name(args.study), **checked_settings(_words(args.settings)))
    history = book.settings_history(args.study)
    _print(_study_tables.settings(history))
    return 0


def _import(args: argparse.Namespace) -> int:
    from picojoule.green import imports
    from picojoule.green.recording import study_name

    options = imports.Options(
        study_name(args.study),
        args.role,
        tuple(args.score),
        args.energy,
        args.power,
        args.device,
        args.device_count,
        args.region,
    )
    found = imports.read(args.file, options, args.format)
    for words in found.complaints:
        _terminal.warn(words)
    for words in found.notes:
        _terminal.note(words)
    book = _ledger(args)
    book.add_all(found.runs)
    kinds = [r.energy_provenance if r.energy.known else "unknown" for r in found.runs]
    told = ", ".join(f"{kinds.count(k)} {k}" for k in sorted(set(kinds)))
    _terminal.note(
        f"{len(found.runs)} runs of {found.tool} are in study {options.study!r} of {book.path}"
        + (f"; their energy: {told}" if told else "")
    )
    return 0 if found.runs or not found.complaints else 1


def _merge(args: argparse.Namespace) -> int:
    book = _ledger(args)
    for other in args.others:
        done = book.merge(other)
        _terminal.note(
            f"{other}: {done.added} runs are new, {done.updated} newer than here, "
            f"{done.known} known"
        )
    return 0


def _repair(args: argparse.Namespace) -> int:
    for words in _ledger(args).repair(*args.files) or ["nothing to repair"]:
        _terminal.note(words)
    return 0


def _whatif(args: argparse.Namespace) -> int:
    from picojoule.green import whatif

    study, settings = _study(args)
    settings.pop("region", None)
    answer = whatif.what_if(
        study,
        data=args.data,
        trials=args.trials,
        folds=args.folds,
        seeds=args.seeds,
        epochs=args.epochs,
        region=args.region,
        score=args.score,
        settings=settings,
    )
    _print("\n".join(answer.lines()))
    return 0


# -- What they share -------------------------------------------------------------------------------


def _study(args: argparse.Namespace, only: Sequence[str] = ()) -> tuple[Any, dict[str, Any]]:
    """The study, and the settings of this call."""
    from picojoule.green.study import checked_settings

    study = _ledger(args).study(args.study, only)
    given = _words(args.settings)
    for name in ("region", "pue"):
        if getattr(args, name) is not None:
            given[name] = _value(getattr(args, name))
    settings = checked_settings(given)
    device = args.device or study.settings.get("device")
    if device:
        from picojoule.green import modelled

        study = modelled.on_device(study, device)
    return study, settings


def _words(words: Sequence[str]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"{word!r}: write KEY=VALUE")
        out[name.strip()] = _value(value)
    return out


def _value(text: str) -> Any:
    """A number, JSON, nothing at all, or the words themselves."""
    if text == "":
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text


def _print(text: str) -> None:
    if sys.stdout is not None:
        _terminal.tolerate_encoding(sys.stdout)
        print(text)
