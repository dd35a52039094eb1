"""Blocks are valid where a schema or parser says what that is, and names cannot break them."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from picojoule.errors import UsageError
from picojoule.green import blocks, figures, footprint, lint
from picojoule.green.blocks import _escape
from picojoule.green.model import Study
from picojoule.green.quantities import PROVENANCES, Quantity

from . import people_studies as people


def block(name, study):
    return blocks.render(name, study, footprint.of(study))


@pytest.mark.parametrize("study", people.EVERY)
@pytest.mark.parametrize("name", blocks.FORMATS)
def test_every_block_of_every_study(name, study):
    made = people.EVERY[study]()
    if name == "boamps" and not footprint.of(made).it_energy.known:
        with pytest.raises(UsageError, match="unknown"):
            block(name, made)
        return
    text = block(name, made)
    assert text.endswith("\n")
    assert "\x1b" not in text and "\u202e" not in text
    assert not re.search(r"\bnan\b|\binf\b", text, re.I)
    text.encode("utf-8")


def test_unknown_format():
    study = people.family()
    with pytest.raises(UsageError, match=r"there are: markdown"):
        blocks.render("word", study, footprint.of(study))


@pytest.mark.parametrize("study", ["family", "failures", "hostile", "loso"])
def test_our_own_section_has_nothing_to_lint(study):
    for name in ("markdown", "latex", "huggingface", "sci"):
        made = people.EVERY[study]()
        errors = [f for f in lint.check(block(name, made)) if f.severity == "error"]
        assert errors == [], name


def test_markdown_says_score_and_cost_side_by_side():
    text = block("markdown", people.with_failures())
    first = text.split("\n\n")[1]
    assert "Score: accuracy" in first and "57.0 kWh (55.3 to 58.8)" in first and "CO2e" in first
    assert "Ember 2024" in text
    assert "2 of 16 runs ended without a result" in text
    unknown = block("markdown", people.loso(energy=False))
    assert "unknown of IT energy" in unknown and "device not named" in unknown
    assert "ccc\\_valence 0.475 ± 0.065 (mean ± sd over 4 folds)" in unknown
    assert not re.search(r"\b0(?:\.0+)? (?:kWh|J|g|kg)\b", unknown)


def cells(line):
    return re.split(r"(?<!\\)\|", line.strip().strip("|"))


def test_hostile_names_stay_text_in_markdown():
    text = block("markdown", people.hostile())
    assert "<script" not in text and "&lt;script" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) > 5
    assert {len(cells(r)) for r in rows} == {5}
    for line in text.splitlines():
        assert not line.startswith("---") and not re.search(r"(?<!\\)[`$*]", line)


def test_hostile_names_stay_text_in_latex():
    first, text = block("latex", people.hostile()).split("\n", 1)
    assert first == r"% needs \usepackage{booktabs}"
    assert text.count(r"\end{table}") == 1 and text.count(r"\begin{table}") == 1
    named = (
        r"textbackslash|textasciitilde|textasciicircum|textless|textgreater|textbar|textquotedbl"
    )
    symbols = r"\$\\(?:pm|times|cdot|leq)\$"
    body = re.sub(rf"\\(?:{named})\{{\}}|\\[%&$#_{{}}]|{symbols}", "", text)
    assert body.count("{") == body.count("}")
    assert "%" not in body.replace("95\\,\\%", "") and "#" not in body and "$" not in body
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert {line.count("&") for line in rows} == {3}


@settings(deadline=None)
@given(st.text(max_size=60))
def test_escapes(text):
    markdown = _escape.markdown(text)
    assert "\n" not in markdown and "<" not in markdown
    assert not re.search(r"(?<!\\)(?:\\\\)*[|`*_\[\]]", re.sub(r"\\.", "", markdown))
    latex = _escape.latex(text)
    plain = re.sub(r"\\[a-z]+\{\}|\\[%&$#_{}]|\$\\[a-z]+\$|\\textsubscript\{2\}", "", latex)
    assert not set(plain) & set("\\{}$&#_%^~\n")


@settings(deadline=None)
@given(st.text(max_size=60))
def test_yaml_gives_the_text_back(text):
    yaml = pytest.importorskip("yaml")
    from picojoule.reports._text import clean

    assert yaml.safe_load(f"a: {_escape.yaml(text)}") == {"a": clean(text)}


@pytest.mark.parametrize("study", people.EVERY)
def test_hugging_face_reads_its_metadata(study):
    hub = pytest.importorskip("huggingface_hub")
    made = people.EVERY[study]()
    text = block("huggingface", made)
    cost = footprint.of(made)
    data = hub.ModelCard(text + "\n# A card\n", ignore_metadata_errors=False).data.to_dict()
    if not cost.co2e.known:
        assert data == {} and "unknown" in text
        return
    told = data["co2_eq_emissions"]
    assert set(told) <= {
        "emissions", "source", "training_type", "geographical_location", "hardware_used",
    }  # fmt: skip
    assert told["emissions"] == pytest.approx(cost.co2e.to("g"), rel=0.1)
    assert isinstance(told["emissions"], (int, float))
    if study == "failures":
        assert told["emissions"] == 14400  # 14.4 kg
        assert "Ember 2024" in told["source"] and "measured energy" in told["source"]
    hub.ModelCardData(**data)


@pytest.mark.parametrize("value", [14400.0, 0.0123, 1e6, 1.5e7, 1e-5, 3.0])
def test_yaml_numbers_are_numbers(value):
    yaml = pytest.importorskip("yaml")
    from picojoule.green.blocks.huggingface import number

    assert yaml.safe_load(number(value)) == pytest.approx(value)


def test_neurips_item_8():
    yes = block("neurips", people.with_failures())
    assert r"\answerYes{}" in yes and "2 that ended without a result" in yes
    assert "15 runs besides the 1" in yes
    no = block("neurips", people.loso(energy=False))
    assert r"\answerNo{}" in no and "which devices computed" in no


def test_sci():
    study = people.family()
    text = block("sci", study)
    cost = footprint.of(study)
    both = cost.co2e + cost.embodied
    assert figures.shown(both) in text
    per_token = both * (1e6 / 5e6)
    line = next(li for li in text.splitlines() if "1e6 training examples" in li)
    assert figures.shown(per_token) in line
    assert "offsets are not part" in text
    assert "unknown (say examples=)" in block("sci", people.loso())


def test_ai_act_lines():
    text = block("aiact", people.family())
    assert "floating point operations: 7.8e+18 FLOP" in text.replace("7.80", "7.8")
    assert "(e) known energy consumption" in text
    assert "(e) estimated energy consumption" in block("aiact", people.loso())
    assert "resources under (d) may be told" in block("aiact", people.loso(energy=False))


@pytest.mark.parametrize("study", people.EVERY)
def test_cyclonedx_is_valid_by_its_schema(study):
    pytest.importorskip("jsonschema")
    validation = pytest.importorskip("cyclonedx.validation.json")
    from cyclonedx.schema import SchemaVersion

    text = block("cyclonedx", people.EVERY[study]())
    errors = validation.JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    assert errors is None
    assert "co2CostOffset" not in text


def test_cyclonedx_figures():
    study = people.with_failures()
    card = json.loads(block("cyclonedx", study))["components"][0]["modelCard"]
    (used,) = card["considerations"]["environmentalConsiderations"]["energyConsumptions"]
    assert used["activityEnergyCost"] == {"value": 68.4, "unit": "kWh"}
    assert used["co2CostEquivalent"] == {"value": 0.0144, "unit": "tCO2eq"}
    assert card["quantitativeAnalysis"]["performanceMetrics"][0]["type"] == "accuracy"


#: Required fields and enumerations of BoAmps' schemas (report, algorithm, dataset, hardware,
#: measure), as they stood in 2025.
_BOAMPS = {
    "": {"task": dict, "measures": list, "infrastructure": dict},
    "header": {"reportDatetime": str},
    "header.publisher": {"confidentialityLevel": {"public", "internal", "confidential", "secret"}},
    "task": {"taskStage": str, "taskFamily": str, "algorithms": list, "dataset": list},
    "task.dataset": {
        "dataUsage": {"input", "output"},
        "dataType": {
            "tabular", "audio", "boolean", "image", "video", "object", "text", "token", "word",
            "other",
        },
    },
    "measures": {"measurementMethod": str, "powerConsumption": float},
    "system": {"os": str},
    "software": {"language": str},
    "infrastructure": {
        "infraType": {"publicCloud", "privateCloud", "onPremise", "other"},
        "components": list,
    },
    "infrastructure.components": {"componentType": str, "nbComponent": int},
}  # fmt: skip


@pytest.mark.parametrize("study", ["family", "failures", "hostile", "loso"])
def test_boamps_has_what_its_schema_requires(study):
    report = json.loads(block("boamps", people.EVERY[study]()))
    for path, fields in _BOAMPS.items():
        found = [report]
        for part in filter(None, path.split(".")):
            values = [f[part] for f in found]
            found = [v for value in values for v in (value if isinstance(value, list) else [value])]
        assert found
        for one in found:
            for key, kind in fields.items():
                if isinstance(kind, set):
                    assert one[key] in kind
                else:
                    assert isinstance(one[key], kind), (path, key)
    assert report["measures"][0]["powerConsumption"] > 0
    assert report["quality"] in ("high", "medium", "low")
    for told in (report["header"]["reportDatetime"], report["measures"][0]["measurementDateTime"]):
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", told)
    # The report is of today, what it reports began in 2023.
    assert report["measures"][0]["measurementDateTime"] == "2023-11-14 22:13:20"
    assert report["header"]["reportDatetime"] > "2025"
    accuracy = report["task"].get("measuredAccuracy")
    assert (accuracy is not None) == (study in ("family", "failures"))
    assert accuracy is None or 0.0 <= accuracy <= 1.0


def test_boamps_needs_an_energy():
    with pytest.raises(UsageError, match="device not named"):
        block("boamps", people.loso(energy=False))


def test_codecarbon_reads_its_csv():
    data = pytest.importorskip("codecarbon.output_methods.emissions_data")
    columns = [f.name for f in dataclasses.fields(data.EmissionsData)]
    study = people.with_failures()
    rows = list(csv.DictReader(io.StringIO(block("codecarbon", study))))
    assert list(rows[0]) == columns
    assert len(rows) == len(study)
    for row in rows:
        data.EmissionsData(**row)


def test_codecarbon_sums():
    study = people.with_failures()
    cost = footprint.of(study)
    rows = list(csv.DictReader(io.StringIO(block("codecarbon", study))))
    assert math.fsum(float(r["emissions"]) for r in rows) == pytest.approx(
        cost.co2e.to("kg"), rel=0.01
    )
    assert math.fsum(float(r["energy_consumed"]) for r in rows) == pytest.approx(
        cost.facility_energy.to("kWh"), rel=0.01
    )
    nothing = list(csv.DictReader(io.StringIO(block("codecarbon", people.loso(energy=False)))))
    assert {r["emissions"] for r in nothing} == {r["energy_consumed"] for r in nothing} == {""}


def test_codecarbon_regions_of_the_runs():
    same = {"energy_j": 1e6, "energy_low_j": 1e6, "energy_high_j": 1e6}
    runs = [people.run(0, region="FRA", **same), people.run(1, region="POL", **same)]
    study = Study("two", runs, {"pue": 1.0})
    first, second = csv.DictReader(io.StringIO(block("codecarbon", study)))
    assert float(second["emissions"]) > 10 * float(first["emissions"])


# ---- honesty ----


def quantities():
    return st.builds(
        lambda value, down, up, how: Quantity(
            value, (("J", 1),), value * (1 - down), value * (1 + up), how, "a meter, 2024"
        ),
        st.floats(1e-3, 1e15),
        st.floats(0, 0.9),
        st.floats(0, 5),
        st.sampled_from(PROVENANCES),
    )


@settings(deadline=None)
@given(quantities(), st.sampled_from(["", "kWh", "J", "MWh"]))
def test_no_digit_is_finer_than_its_range(found, unit):
    text = figures.shown(found, unit)
    number = re.match(r"-?[\d,]+(?:\.(\d+))?(?:e([+-]\d+))?", text)
    shown_unit = re.search(r"[a-zA-Z]+(?:/[a-zA-Z]+)?(?= \(|$)", text)[0]
    last = 10.0 ** (int(number[2] or 0) - len(number[1] or ""))
    if not number[1] and not number[2]:
        digits = number[0].replace(",", "")
        last = 10.0 ** (len(digits) - len(digits.rstrip("0"))) if digits != "0" else 1.0
    low, high = found.range_in(shown_unit)
    half = (high - low) / 2
    if high - low > 1.1e-9 * found.to(shown_unit):
        digits = re.sub(r"e.*|[,.]", "", number[0]).strip("0")
        assert last >= 0.028 * half or len(digits) == 1
        assert digits, "a number that is known is not 0"
    elif high - low < 0.9e-9 * found.to(shown_unit):
        assert len(re.sub(r"e.*|[,.]", "", number[0]).strip("0")) <= 4


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=60)
@given(
    energies=st.lists(
        st.tuples(st.floats(1, 1e12), st.floats(0, 0.5), st.sampled_from(PROVENANCES)), max_size=6
    ),
    holes=st.integers(0, 3),
    region=st.sampled_from(["", "GBR", "FRA", "SLV", "US-CA", "WLD"]),
    pue=st.sampled_from([None, 1.0, 1.25, "personal"]),
    price=st.sampled_from([None, "2.5 USD/h"]),
)
def test_no_figure_without_its_account(energies, holes, region, pue, price):
    runs = [
        people.run(
            i,
            energy_j=e,
            energy_low_j=e * (1 - r),
            energy_high_j=e * (1 + r),
            energy_provenance=how,
        )
        for i, (e, r, how) in enumerate(energies)
    ]
    runs += [
        people.run(50 + i, energy_j=math.nan, energy_low_j=math.nan, energy_high_j=math.nan)
        for i in range(holes)
    ]
    study = Study("any", runs, {"region": region, "pue": pue, "price_per_device_hour": price})
    cost = footprint.of(study)
    found = [*figures.figures(study, cost), *figures.factors(cost)]
    for f in found:
        assert f.scope and f.label
        if f.quantity.known:
            assert f.quantity.provenance in PROVENANCES
            assert f.basis or not runs, f.key
            if f.label.startswith("nameplate floor"):
                assert "NVIDIA A100" in f.basis  # a data sheet is named by its device
            elif f.scope == "factor" and f.quantity.provenance == "published":
                assert re.search(r"\b(?:19|20)\d\d\b", f.basis), f.label
        else:
            assert f.how == "unknown" and f.text.startswith("unknown")
            assert f.basis, f.key
    if holes and runs:
        assert not cost.it_energy.known or cost.it_energy.high > cost.it_energy.value
    text = blocks.render("markdown", study, cost)
    for f in found:
        if f.quantity.known:
            assert _escape.markdown(f.text) in text and _escape.markdown(f.basis) in text
