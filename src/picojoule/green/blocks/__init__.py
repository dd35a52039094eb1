"""What a study cost, in the forms that papers, model cards and other tools ask for.

A format is one module with ``render(study, footprint) -> str`` and one line in the table below.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING

from picojoule.errors import UsageError

if TYPE_CHECKING:
    from picojoule.green.footprint import Footprint
    from picojoule.green.model import Study

#: name -> (module, summary)
FORMATS: Mapping[str, tuple[str, str]] = {
    "markdown": (f"{__name__}.markdown", "a section for a model card or README"),
    "latex": (f"{__name__}.latex", "a paragraph and a table for a paper"),
    "huggingface": (f"{__name__}.huggingface", "model card metadata, emissions in grams (YAML)"),
    "neurips": (f"{__name__}.neurips", "answer to item 8 of the NeurIPS checklist"),
    "sci": (f"{__name__}.sci", "SCI (ISO/IEC 21031) and SCI for AI lines"),
    "aiact": (f"{__name__}.aiact", "EU AI Act, Annex XI section 1(2)(d) and (e) lines"),
    "cyclonedx": (f"{__name__}.cyclonedx", "CycloneDX 1.6 ML-BOM with energy and CO2e (JSON)"),
    "boamps": (f"{__name__}.boamps", "BoAmps report of the energy (JSON)"),
    "codecarbon": (f"{__name__}.codecarbon", "emissions.csv as CodeCarbon writes it"),
}


def render(name: str, study: Study, footprint: Footprint) -> str:
    """The block ``name`` of a study.

    Args:
        name: one of ``FORMATS``.
        study: the runs.
        footprint: what they cost.

    Raises:
        UsageError: there is no such format, or the study lacks what it cannot do without.
    """
    if name not in FORMATS:
        raise UsageError(f"there is no format {name!r}; there are: {', '.join(FORMATS)}")
    text: str = import_module(FORMATS[name][0]).render(study, footprint)
    return text


__all__ = ["FORMATS", "render"]
