"""Slips that papers and cards have printed are found, and clean cards are let be."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picojoule.cli import main
from picojoule.green import lint


def rules(text, severity="error"):
    return [(f.line, f.rule) for f in lint.check(text) if f.severity == severity]


LLAMA_33 = """\
**Training Energy Use** Training utilized a cumulative of **39.3**M GPU hours on H100-80GB (TDP \
of 700W) type hardware, per the table below.

**Training Greenhouse Gas Emissions** Estimated total location-based greenhouse gas emissions \
were **11,390** tons CO2eq for training. Electricity was matched 100% with renewable energy, \
therefore the total market-based greenhouse gas emissions for training were 0 tons CO2eq.

|  | Training Time (GPU hours) | Training Power Consumption (W) | Training Location-Based \
Greenhouse Gas Emissions (metric tons CO2eq) | Training Market-Based Greenhouse Gas Emissions \
(metric tons CO2eq) |
| :---- | :---: | :---: | :---: | :---: |
| Llama 3.3 70B | 7.0M | 700 | {} | 0 |
"""

LLAMA_2 = """\
**Carbon Footprint** Pretraining utilized a cumulative 3.3M GPU hours of computation on hardware \
of type A100-80GB (TDP of 350-400W). Estimated total emissions were 539 tCO2eq, 100% of which \
were offset by Meta's sustainability program.

||Time (GPU hours)|Power Consumption (W)|Carbon Emitted(tCO<sub>2</sub>eq)|
|---|---|---|---|
|Llama 2 7B|184320|400|31.22|
|Llama 2 13B|368640|400|62.44|
|Llama 2 70B|1720320|400|291.42|
|Total|3311616||539.00|

100% of the emissions are directly offset by the sustainability program.
"""

LLAMA_31 = """\
Estimated total location-based greenhouse gas emissions were **11,390** tons CO2eq for training.

<table>
  <tr>
   <td></td>
   <td><strong>Training Time (GPU hours)</strong></td>
   <td><strong>Training Power Consumption (W)</strong></td>
   <td><strong>Training Location-Based Greenhouse Gas Emissions</strong>
<p><strong>(tons CO2eq)</strong></td>
   <td><strong>Training Market-Based Greenhouse Gas Emissions</strong>
<p><strong>(tons CO2eq)</strong></td>
  </tr>
  <tr><td>Llama 3.1 8B</td><td>1.46M</td><td>700</td><td>420</td><td>0</td></tr>
  <tr><td>Llama 3.1 70B</td><td>7.0M</td><td>700</td><td>2,040</td><td>0</td></tr>
  <tr><td>Llama 3.1 405B</td><td>30.84M</td><td>700</td><td>8,930</td><td>0</td></tr>
  <tr><td>Total</td><td>39.3M</td><td></td><td>11,390</td><td>0</td></tr>
</table>
"""

STRUBELL = """\
| model | hardware | power (W) | hours | kWh·PUE | CO2e (lb) | cloud $ |
|---|---|---|---|---|---|---|
| Transformer base | P100x8 | 1415.78 | 12 | 27 | 26 | $41-${} |
| Transformer big | P100x8 | 1515.43 | 84 | 201 | 192 | $289-$981 |
| ELMo | P100x3 | 517.66 | 336 | 275 | 262 | $433-$1472 |
| BERT base | V100x64 | 12,041.51 | 79 | 1507 | 1438 | $3751-$12,571 |

The PUE is 1.58.
"""


def test_llama_33_has_a_figure_that_no_grid_allows():
    found = lint.check(LLAMA_33.format("12.9"))
    assert [(f.line, f.rule, f.severity) for f in found] == [(7, "intensity", "error")]
    assert "2.6 g/kWh" in found[0].message


@pytest.mark.parametrize(
    "card",
    [LLAMA_33.format("2,040"), LLAMA_2, LLAMA_31, STRUBELL.format("140")],
    ids=["llama 3.3 mended", "llama 2", "llama 3.1", "strubell"],
)
def test_clean_cards_are_let_be(card):
    assert rules(card) == []


def test_openai_counted_seq2seq_too_low():
    text = "(348M + 304M words) * 0.380 GF * 2 add-multiply * 3 backprop * 7.5 epoch\n"
    assert rules(text + "= 7,300 PF = 0.085 pfs-days") == [(2, "recompute")]
    assert rules(text + "= 11,149 PF = 0.129 pfs-days") == []
    table = (
        "| system | forward (GMAC) | words | epochs | training (pf-days) |\n|--|--|--|--|--|\n"
        "| Seq2Seq | 0.38 | 652M | 7.5 | {} |\n"
    )
    found = lint.check(table.format(0.085))
    assert [(f.line, f.rule) for f in found] == [(3, "recompute")]
    assert "0.129 pf-days" in found[0].message
    assert rules(table.format(0.129)) == []
    assert rules(table.format(0.0645)) == [(3, "mac-flop")]


@pytest.mark.parametrize(
    ("wrong", "right", "rule"),
    [
        (
            "M = 1205.52 * (1/35040) * (2/16) = 0.004305 KG",
            "M = 1205.52 * (1/35040) * (2/16) = 0.0043005 KG =~ **4.3005 gCO2e**",
            "recompute",
        ),
        (
            "SCI = (E * I) + M = (0.02394 KwH * 951 gCO2e/kwH) + 4.305 gCO2e = **26.178 gCO2e**",
            "SCI = (E * I) + M = (0.023 kWh * 951 gCO2e/kWh) + 4.305 gCO2e = **26.178 gCO2e**",
            "recompute",
        ),
        (
            "Emissions of 6,500 kg CO2e over 50 billion tokens are 0.13 g CO2e per million tokens",
            "Emissions of 6,500 kg CO2e over 50 billion tokens are 130 g CO2e per million tokens",
            "grams",
        ),
        (
            "75,000 kg CO2e / 2.5 B params = 3000 kg/B params",
            "75,000 kg CO2e / 2.5 B params = 30,000 kg/B params",
            "recompute",
        ),
        (
            "75,000 kg CO2e / 2.5 B params = 30 kg/B params",
            "200,000 kg / 5e22 FLOP = 4 g / 1e15 FLOP",
            "grams",
        ),
    ],
)
def test_examples_of_the_green_software_foundation(wrong, right, rule):
    assert rules(wrong) == [(1, rule)]
    assert rules(right) == []


def test_codecarbon_prints_kg_for_g():
    mix = "Net Carbon Intensity = 0.25 * 995 + 0.35 * 816 + 0.26 * 743 + 0.14 * 29 = 731.59 {}/kWh"
    found = lint.check(mix.format("kgCO₂"))
    assert [f.rule for f in found] == ["grams"]
    assert "732 g/kWh" in found[0].message
    assert lint.check(mix.format("gCO₂")) == []


def test_codecarbon_misprints_a_price():
    found = lint.check(STRUBELL.format("410"))
    errors = [f for f in found if f.severity == "error"]
    assert [(f.line, f.rule) for f in errors] == [(3, "price")]
    assert "$140" in errors[0].message


def test_strubells_bert_needs_hours_that_were_rounded():
    notes = [f for f in lint.check(STRUBELL.format("140")) if f.severity == "note"]
    assert [f.line for f in notes] == [6]
    assert "79.2" in notes[0].message and "1507" in notes[0].message


def test_gpt3_with_and_without_pue():
    text = "GPT-3 took 1,287 MWh; with a PUE of 1.1, 502 t CO2e in one table and 552 t in another."
    found = lint.check(text)
    assert [f.rule for f in found] == ["pue"]
    assert "differ by the PUE 1.1" in found[0].message
    row = (
        "| model | MWh | PUE | kg CO2e/kWh | t CO2e |\n|-|-|-|-|-|\n"
        "| GPT-3 | 1287 | 1.10 | 0.429 | {} |"
    )
    assert rules(row.format("552")) == []
    assert rules(row.format("502")) == [(3, "pue")]


def test_pue_twice():
    row = (
        "| run | GPU hours | power (W) | PUE | g CO2e/kWh | energy (kWh) | emissions (kg CO2e) |\n"
        "|-|-|-|-|-|-|-|\n| a | 1000 | 400 | 1.5 | 300 | {} | {} |"
    )
    assert rules(row.format(600, 180)) == []
    assert rules(row.format(400, 180)) == []
    assert rules(row.format(900, 270)) == [(3, "pue")]


METADATA = """\
---
co2_eq_emissions:
  emissions: {}
  source: CodeCarbon
  training_type: fine-tuning
---
# A card

- **Hardware Used**: 3x NVIDIA L40S (350 W TDP)
- **Region**: `europe-north1` (120 gCO2eq/kWh)
- **Total Energy**: 696 kWh
- **Total CO2 Emissions**: 83.5 kg CO2eq
"""


def test_metadata_are_in_grams():
    found = lint.check(METADATA.format("83.5"))
    assert [(f.line, f.rule) for f in found] == [(3, "grams")]
    assert "write 8.35e+04" in found[0].message
    assert lint.check(METADATA.format("83500")) == []
    bare = "---\nco2_eq_emissions: 41.1\n---\nTraining took 120 kWh of energy.\n"
    assert rules(bare) == [(2, "grams")]
    assert rules(bare.replace("41.1", "41100")) == []


@pytest.mark.parametrize(
    "text",
    [
        "We report emissions of 12 t CO2e, net of offsets.",
        "After subtracting 40 t of offsets, 12 t CO2e remain.",
        "Offsets of 40 t CO2e were deducted.",
    ],
)
def test_offsets_are_not_subtracted(text):
    assert [rule for _, rule in rules(text)] == ["offset"]


@pytest.mark.parametrize(
    "text",
    [
        "Emissions were 539 tCO2eq, 100% of which were offset by a sustainability program.",
        "Offsets of 40 t CO2e were bought and are not subtracted from the 52 t CO2e.",
        "Emissions before offsets: 52 t CO2e.",
    ],
)
def test_offsets_may_be_told(text):
    assert rules(text) == []


def test_market_based_is_not_location_based():
    assert rules("Training emitted 0 t CO2e, since all power was renewable by PPAs.") == [
        (1, "market-based")
    ]
    assert rules("Market-based emissions were 3.1 t CO2e.") == [(1, "market-based")]
    assert rules("Location-based 9 t CO2e.\n\nMarket-based emissions were 0 t CO2e.") == []
    table = (
        "| run | kWh | location-based (t CO2e) | market-based (t CO2e) |\n|-|-|-|-|\n"
        "| a | 5000 | {} | 0 |"
    )
    assert rules(table.format("2.1")) == []
    assert rules(table.format("0")) == [(3, "market-based")]


@pytest.mark.parametrize(
    ("text", "bad"),
    [
        ("MFU against the H100's BF16 peak of 1979 TFLOP/s", True),
        ("MFU against the H100's BF16 peak of 989.4 TFLOP/s", False),
        ("H100 FP8 peak: 1,979 TFLOPS", False),
        ("H100 FP8 peak: 3,958 TFLOPS", True),
        ("H100 SXM fp32 peak of 989 TFLOPS", True),
        ("A100 (624 TFLOPS in bf16)", True),
        ("A100 (312 TFLOPS in bf16)", False),
        ("A100, sparse: 624 TFLOPS", False),
        ("RTX 4090 with 330.3 TFLOPS FP16", True),
    ],
)
def test_sparse_peaks(text, bad):
    assert [rule for _, rule in rules(text)] == (["sparse-peak"] if bad else [])


def test_macs_called_flops():
    assert rules("ResNet-50 needs 4.1 GFLOPs for an image.") == [(1, "mac-flop")]
    assert rules("ResNet-50 needs 4.1 GMACs, 8.2 GFLOP, for an image.") == []
    assert rules("ResNet-50 needs 8.2 GFLOPs for an image.") == []
    table = "| model | FLOPs (B) | top-1 |\n|-|-|-|\n| resnet152 | 11.58 | 78.428 |\n"
    assert rules(table) == [(3, "mac-flop")]
    gpt = "Training 175B parameters on 300B tokens took {} FLOP."
    assert rules(gpt.format("3.15e23")) == []
    assert rules(gpt.format("1.57e23")) == [(1, "mac-flop")]


@pytest.mark.parametrize(
    ("text", "bad"),
    [
        ("FLOP (1 MAC = 2 FLOP)", False),
        ("4.1 GMAC = 8.2 GFLOP", False),
        ("4.1 GMAC = 4.1 GFLOP", True),
        ("0.75 GMAC x 2 x 3 x 1.2M images x 90 epochs = 486 PFLOP", False),
    ],
)
def test_macs_in_equations(text, bad):
    assert rules(text) == ([(1, "mac-flop")] if bad else [])


def test_prices():
    text = "16 TPU v2 devices x 96 h, at $4.50 per hour, cost ${}."
    assert rules(text.format("6,912")) == []
    assert rules(text.format("69,120")) == [(1, "price")]


def test_digits():
    assert rules("Training emitted 12.3456789 kg CO2e.") == [(1, "digits")]
    assert rules("Training emitted 12.3 kg CO2e.") == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "---\n",
        "| | |\n|-|-|\n",
        "<table><tr><td>",
        "a = b = c\n= = =\n",
        "0 kWh and 0 t CO2e for 0 hours at 0 W with a PUE of 1.0",
        "1e999 kWh x 1e999 = 1e999 g CO2e",
        "The paper of 2019 has 12 pages, 3 tables; it was written in 4 h on 2 laptops.",
        "Accuracy rose from 76.1 to 78.4 (+2.3), 95 % CI [1.9, 2.7], p < 0.05.",
    ],
)
def test_what_claims_nothing_is_let_be(text):
    assert rules(text) == []


@settings(deadline=None)
@given(st.text(max_size=300))
def test_any_text_is_survived(text):
    lint.check(text)


@settings(deadline=None)
@given(st.lists(st.sampled_from("0123456789.,eE+-x*/=()|$ \n#kWhgtCO2MGPU:%"), max_size=120))
def test_any_arithmetic_is_survived(parts):
    lint.check("".join(parts))


@settings(deadline=None)
@given(
    hours=st.floats(1, 1e6),
    watts=st.floats(10, 2000),
    pue=st.floats(1.0, 2.0),
    intensity=st.floats(10, 1000),
)
def test_right_rows_of_any_size_are_let_be(hours, watts, pue, intensity):
    energy = hours * watts * pue / 1000
    row = (
        "| GPU hours | power (W) | PUE | g CO2e/kWh | energy (kWh) | emissions (kg CO2e) |\n"
        "|-|-|-|-|-|-|\n"
        f"| {hours:.5g} | {watts:.4g} | {pue:.3f} | {intensity:.4g} | {energy:.4g} | "
        f"{energy * intensity / 1000:.3g} |"
    ).replace("e+0", "e")
    assert rules(row) == []


def test_the_command(tmp_path, capsys):
    bad, good = tmp_path / "bad.md", tmp_path / "good.md"
    bad.write_text(LLAMA_33.format("12.9"), encoding="utf-8")
    good.write_text(LLAMA_2, encoding="utf-8")
    assert main(["lint", str(good)]) == 0
    capsys.readouterr()
    assert main(["lint", str(bad), str(good)]) == 1
    assert f"{bad}:7: error: " in capsys.readouterr().out
    assert main(["lint", "--json", str(bad)]) == 1
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["line"], row["rule"], row["severity"]) == (7, "intensity", "error")
    assert main(["lint", str(tmp_path / "none.md")]) == 1
    assert "none.md" in capsys.readouterr().err
