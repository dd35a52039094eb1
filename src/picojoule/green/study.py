"""``pj.study``: a question that runs answer together, and what holds for all of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from picojoule.errors import UsageError
from picojoule.green import keys, ledger, recorder
from picojoule.green.ledger import setting_text
from picojoule.green.quantities import Quantity
from picojoule.green.recording import study_name

if TYPE_CHECKING:
    from picojoule._profile import profile
    from picojoule.green import model

#: What ``study`` can be told, and what it means. Factors that change with time (prices, grids) are
#: kept with the date they were told at.
SETTINGS = {
    "title": "what the study is called in a report",
    "description": "a sentence about it",
    "protocol": "how it is validated: 'leave-one-site-out'",
    "search": "how configurations were drawn: random, grid, bayesian, manual",
    "score": "name of the score that counts",
    "larger_is_better": "of that score",
    "dataset": "id of the data",
    "dataset_size": "examples in it",
    "parameters": "of the model",
    "device": "name of the hardware; unmeasured energies are modelled by it",
    "task": "what the model does: 'text classification'",
    "stage": "'training', 'fine-tuning' or 'inference'",
    "training_type": "'pre-training' or 'fine-tuning', for a model card",
}


def study(name: str, *, ledger: str | os.PathLike[str] | None = None, **settings: Any) -> OpenStudy:
    """Name a study, and say what holds for all its runs.

    >>> s = pj.study("ablation", region="GBR", pue=1.2)           # doctest: +SKIP
    >>> with s.profile(config={"lr": 0.1}, seed=1) as p:          # doctest: +SKIP
    ...     p.score(accuracy=train())

    ``pj.profile(study="ablation", ...)`` writes to the same study. Settings stay in the ledger,
    with the date; told again, the later one holds, and None takes one back.

    Args:
        name: of the study.
        ledger: path or URL of the ledger; None for the project's (see ``ledger.open``).
        **settings: those of ``study.settings_known()``: region, pue, prices, hardware, and so on.
            Numbers with a unit are written as in ``"0.25 EUR/kWh"``, or as a ``Quantity``.

    Raises:
        UsageError: no name, an unknown setting, or a value that has no JSON form.
    """
    given = {key: setting_text(value) for key, value in checked_settings(settings).items()}
    opened = OpenStudy(study_name(name), ledger)
    if given:
        recorder.of(opened.ledger_path).set(opened.name, given)
    return opened


def settings_known() -> dict[str, str]:
    """Every setting that ``study`` takes, and what it means."""
    from picojoule.green import footprint

    return {**SETTINGS, **footprint.SETTINGS}


class OpenStudy:
    """A study that runs are written to; made by ``pj.study``."""

    def __init__(self, name: str, where: str | os.PathLike[str] | None) -> None:
        """See ``study``."""
        self.name = name
        self._ledger = ledger.open(where)
        self.ledger_path = self._ledger.path

    def profile(self, name: str | None = None, **arguments: Any) -> profile:
        """``pj.profile`` of a run of this study; takes the same arguments."""
        from picojoule._profile import profile

        made: profile = profile(name, study=self, **arguments)
        return made

    def read(self) -> model.Study:
        """All its runs so far, in this process and others.

        Raises:
            UsageError: there is none yet.
            LedgerError: the ledger cannot be read.
        """
        recorder.flush()
        return self._ledger.study(self.name)

    def __repr__(self) -> str:
        return f"<picojoule.study {self.name!r} in {self.ledger_path}>"


def checked_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """``settings`` as they can be kept.

    Raises:
        UsageError: one is unknown, or its value has no JSON form.
    """
    known = settings_known()
    out = {}
    for key, value in settings.items():
        if key not in known:
            close = get_close_matches(key, known, 1)
            hint = f"; did you mean {close[0]}?" if close else f"; there are: {', '.join(known)}"
            raise UsageError(f"a study has no setting {key!r}{hint}")
        out[key] = value if isinstance(value, Quantity) else keys.plain(value, key)
    return out
