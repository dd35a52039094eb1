"""What several blocks say in words: the result and its cost, the hardware, what is not known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from picojoule.green import figures
from picojoule.green.figures import Counts, Figure, Score

if TYPE_CHECKING:
    from picojoule.green.edh import EDH
    from picojoule.green.footprint import Footprint
    from picojoule.green.model import Study


@dataclass(frozen=True, slots=True)
class Story:
    """A study's figures, and sentences on them in plain words (not escaped)."""

    name: str
    figures: dict[str, Figure]
    factors: list[Figure]
    scores: list[Score]
    counts: Counts
    edh: EDH

    def told(self, key: str) -> str:
        """A figure in a sentence: number and method; or unknown and why."""
        figure = self.figures[key]
        if figure.quantity.known:
            return f"{figure.text} [{figure.how}]"
        return f"{figure.text} ({figure.basis})" if figure.basis else figure.text

    def brief(self, key: str) -> str:
        """The same where the reasons stand elsewhere."""
        figure = self.figures[key]
        return f"{figure.text} [{figure.how}]" if figure.quantity.known else figure.text

    @property
    def known(self) -> list[Figure]:
        """Figures with a number."""
        return [f for f in self.figures.values() if f.quantity.known]

    @property
    def unknown(self) -> list[Figure]:
        """Figures without one."""
        return [f for f in self.figures.values() if not f.quantity.known]

    def result(self) -> str:
        """The score, or that there is none."""
        if not self.scores:
            return "No score is recorded."
        return "Score: " + "; ".join(f"{s.name} {s.text}" for s in self.scores) + "."

    def hardware(self) -> str:
        """What computed, where."""
        devices = ", ".join(self.counts.devices) or "devices not named"
        where = ", ".join(self.counts.regions)
        return devices + (f" in {where}" if where else "")

    def experiments(self) -> list[str]:
        """H, K and S, and what the study cost over its final experiment."""
        h = self.edh
        configs = "unknown" if math.isnan(h.configs) else f"{h.configs:,.0f}"
        out = [
            f"Hyper-parameter experiments: {configs} configuration{'s' * (h.configs != 1)}, "
            f"{h.folds} fold{'s' * (h.folds != 1)}, {h.seeds} seed{'s' * (h.seeds != 1)}."
        ]
        if not math.isnan(h.h_cost):
            out.append(
                f"The study cost {h.h_cost:.3g} times the IT energy of its final experiment."
            )
        if h.failed.runs:
            share = h.failed.share
            of_energy = "" if math.isnan(share) else f", {share:.1%} of the known IT energy"
            out.append(
                f"{h.failed.runs:,} of {h.runs:,} runs ended without a result{of_energy}; "
                "they are counted."
            )
        return out


def story(study: Study, footprint: Footprint) -> Story:
    """Everything that blocks say of a study."""
    from picojoule.green.edh import decompose

    counted = figures.counts(study)
    return Story(
        study.name,
        {f.key: f for f in figures.figures(study, footprint, counted)},
        figures.factors(footprint),
        figures.scores(figures.reported(study)),
        counted,
        decompose(study),
    )
