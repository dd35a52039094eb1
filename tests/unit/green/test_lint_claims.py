"""MACs sold as FLOP, contracts sold as the grid, and energies that no device can have drawn."""

from __future__ import annotations

import pytest

from picojoule.green import lint


def rules(text):
    return [(f.line, f.rule) for f in lint.check(text) if f.severity == "error"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Location-based emissions: 0 kg CO2e (renewable energy certificates).", 1),
        ("Location-based emissions were 0 kg CO2e. We hold PPAs for all of it.", 1),
        ("- Location-based: 0 kg CO2e\n- Power: 100 % renewable\n", 1),
        ("Training emitted 0 kg CO2e.\n\nAll power is covered by guarantees of origin.", 1),
        ("Location-based emissions are zero thanks to certificates.", 1),
        ("Because of our PPA there were zero location-based emissions.", 1),
        ("Location-based emissions after certificates are 1.2 t CO2e.", 1),
        ("Location-based emissions, net of purchased RECs, were 12 kg CO2e.", 1),
        ("Location-based: 0 kg CO2e; market-based: 0 kg CO2e, 100 % renewable.", 1),
        ("Emissions were 0 kg (location-based) and 0 kg CO2e (market-based).", 1),
        ("The 20 kWh emitted 0 g CO2e at 211 g/kWh.", 1),
        ("- Energy: 20 kWh\n- CO2e: 0 kg\n", 2),
    ],
)
def test_contracts_do_not_change_a_location_based_figure(text, line):
    assert rules(text) == [(line, "market-based")]


@pytest.mark.parametrize(
    "text",
    [
        "Location-based emissions were 9 kg CO2e, market-based ones 0 kg CO2e (RECs).",
        "Emissions were 9 kg (location-based) and 0 kg CO2e (market-based, PPA).",
        "- Location-based: 9 kg CO2e\n- Market-based: 0 kg CO2e (100 % renewable)\n",
        "Location-based emissions were 9 kg CO2e; certificates were bought beside that.",
        "Location-based emissions, before certificates, were 9 kg CO2e.",
        "Location-based emissions are never zero: 9 kg CO2e.",
        "No location-based figure is known.",
        "We report location-based emissions using renewable shares of the grid, 12 kg CO2e.",
        "Direct emissions were 0 kg CO2e; location-based ones 5 kg CO2e, before certificates.",
        "The site buys renewable power; location-based emissions were 9 kg CO2e.",
    ],
)
def test_contracts_may_be_told(text):
    assert rules(text) == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("4.1 GFLOPs (ResNet-50, 4.1 GMACs)", 1),
        ("The net needs 0.57 GMACs, that is 0.57 GFLOPs.", 1),
        ("ResNet-50: 4.1 GFLOPs (1 MAC = 2 FLOP)", 1),
        ("ResNet-50: 4.1 GFLOPs, so 2.05 GMACs", 1),
        ("- Model: ResNet-50\n- FLOPs: 4.1 G\n", 2),
        ("# ResNet-50\n\nIt needs 4.1 GFLOPs for an image.", 3),
        ("| net | GFLOPs | GMACs |\n|-|-|-|\n| own | 3.3 | 3.3 |", 3),
        ("| net | FLOPs (G) | MACs (G) |\n|-|-|-|\n| own | 3.3 | 3.3 |", 3),
    ],
)
def test_macs_sold_as_flops(text, line):
    assert rules(text) == [(line, "mac-flop")]


@pytest.mark.parametrize(
    "text",
    [
        "8.2 GFLOPs (ResNet-50, 4.1 GMACs)",
        "- Model: ResNet-50\n- MACs: 4.1 G\n- FLOPs: 8.2 G\n",
        "# ResNet-50\n\nIt needs 8.2 GFLOPs for an image.",
        "# Nets\n\nResNet-50 and VGG-16 are larger: ours needs 3.3 GFLOPs.",
        "We count FLOPs as MACs: ResNet-50 has 4.1 GFLOPs.",
        "One MAC is one FLOP here, as in fvcore: 4.1 GFLOPs (4.1 GMACs) for ResNet-50.",
        "| net | FLOPs (G) | MACs (G) |\n|-|-|-|\n| own | 6.6 | 3.3 |",
        "The encoder needs 2 GMACs. The decoder needs 3 GFLOPs.",
    ],
)
def test_macs_and_flops_told_apart(text):
    assert rules(text) == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("10 kWh for 64 A100s over 3 days", 1),
        ("Training took 3 days on 64 A100 GPUs and 10 kWh.", 1),
        ("- Hardware: 64 x A100 80GB\n- Time: 72 h\n- Energy: 10 kWh", 3),
        ("Trained on 64 A100 for 3 days.\n\n- Energy (kWh): 10\n", 3),
        ("| GPUs | hours | energy (kWh) |\n|-|-|-|\n| 64 A100 | 72 | 10 |", 3),
        ("Trained for 4,608 GPU hours on A100: 10 kWh.", 1),
        ("Trained on 8 GPUs for 100 h with 2 kWh.", 1),
        ("64 A100s for 3 days used 900 MWh", 1),
        ("64 A100s ran for 3 days; GPU energy was 2,500 kWh", 1),
        ("A single RTX 4090 used 40 kWh in 10 h", 1),
    ],
)
def test_energies_that_devices_cannot_draw(text, line):
    assert rules(text) == [(line, "energy")]


@pytest.mark.parametrize(
    "text",
    [
        "1,100 kWh for 64 A100s over 3 days",
        "Training took 3 days on 64 A100 GPUs and 3,000 kWh with PUE 1.2 and hosts.",
        "10 kWh for each epoch; 64 A100s over 3 days",
        "5 runs on 64 A100s, 3 days each: 20,000 kWh",
        "On 64 A100s and 8 V100s it took 3 days and 10 kWh.",
        "10 kWh for 64 Jetson boards over 3 days",
        "64 A100s for 3 days: 0.002 kWh per query",
        "We tried 12 models on 4 A100 GPUs for 6 h. One evaluation takes 0.2 kWh.",
        "1,000 queries on one A100 took 0.047 kWh. Training took 30 days on 8 A100 GPUs.",
        "BLOOM was trained on 384 A100 80GB GPUs for 118 days; it used 433 MWh, 24.7 t CO2eq.",
        "GPT-3: 10,000 V100 for 14.8 days, 1,287 MWh, 552 t CO2e.",
        "LLaMA used 2048 A100-80GB for about 5 months: 2,638 MWh and 1,015 tCO2eq.",
        "Gopher: 4096 TPU v3 chips for 920 hours, 1066 MWh and 380 t CO2e.",
        "PaLM: 6144 TPU v4 chips for 1200 hours, 3.4 GWh, 271.43 tCO2e.",
        "16 TPU v3 devices ran for 96 h and took 2,300 kWh",
        "RTX 4090: 3 kWh in 10 h, on an RTX 4090.",
    ],
)
def test_energies_that_devices_can_draw(text):
    assert rules(text) == []


@pytest.mark.parametrize(
    ("text", "line", "rule"),
    [
        ("64 A100s for 3 days emitted 0.2 kg CO2e.", 1, "intensity"),
        ("8 V100 for 24 h: 5 t CO2e", 1, "intensity"),
        ("Energy: 100 kWh.\n\nEmissions: 3 t CO2e.", 3, "grams"),
        ("Energy: 100 kWh.\n\nEmissions: 0.2 kg CO2e.", 3, "intensity"),
        ("- **Carbon intensity (gCO2e/kWh):** 4500", 1, "intensity"),
        ("- Energy (kWh): 100\n- Emissions (kg CO2e): 0.2", 2, "intensity"),
    ],
)
def test_intensities_that_no_grid_has(text, line, rule):
    assert rules(text) == [(line, rule)]


@pytest.mark.parametrize(
    "text",
    [
        "64 A100s for 3 days emitted 350 kg CO2e.",
        "Energy: 100 kWh.\n\nEmissions: 30 kg CO2e.",
        "- **Carbon intensity (gCO2e/kWh):** 450",
        "- Energy (kWh): 100\n- Emissions (kg CO2e): 30",
        "Energy of training: 100 kWh.\n\nEach query emits 0.3 g CO2e.",
    ],
)
def test_intensities_that_grids_have(text):
    assert rules(text) == []


HONEST = """\
---
co2_eq_emissions:
  emissions: 385000
  source: picojoule
---
# A ResNet-50

- **Hardware**: 64 x A100 SXM (400 W)
- **Time**: 72 h
- **IT energy**: 1,500 kWh, measured with NVML
- **PUE**: 1.2
- **Carbon intensity (gCO2e/kWh)**: 214, location-based
- **Emissions**: 385 kg CO2e (location-based)

A forward pass takes 4.1 GMACs, which are 8.2 GFLOPs. We buy renewable power by a PPA; the \
market-based figure is 0 kg CO2e.
"""


def test_an_honest_card_is_clean():
    assert lint.check(HONEST) == []
