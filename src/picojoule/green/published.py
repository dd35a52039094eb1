"""Equations of published reports under their papers' names, in plain numbers with units in names.

Each is one line over the functions that carry units; use those in programs. These are for checking
a printed figure against its inputs::

    >>> round(strubell_kwh(hours=84, power_w=1515.43))
    201
    >>> device_hours_usd(devices=16, hours=96, usd_per_hour=4.5)
    6912.0
"""

from __future__ import annotations

from collections.abc import Sequence

from picojoule.green import (
    carbon,
    compute,
    embodied,
    factors,
    fits,
    money,
    scaling,
    trials,
    water,
)
from picojoule.green.quantities import Quantity, quantity

#: Strubell, Ganesh and McCallum 2019: PUE and pounds of CO2e a kWh, US averages of 2018.
STRUBELL_PUE = 1.58
STRUBELL_LB_PER_KWH = 0.954


def strubell_kwh(hours: float, power_w: float, pue: float = STRUBELL_PUE) -> float:
    """Energy of training: ``1.58 t P / 1000`` (Strubell et al. 2019), P of CPU, DRAM and GPUs."""
    return gpu_hours_kwh(hours, power_w, pue)


def strubell_lb_co2e(
    hours: float,
    power_w: float,
    pue: float = STRUBELL_PUE,
    lb_per_kwh: float = STRUBELL_LB_PER_KWH,
) -> float:
    """Pounds of CO2e: ``0.954 x`` the energy (Strubell et al. 2019)."""
    used = quantity(strubell_kwh(hours, power_w, pue), "kWh")
    return carbon.co2e(used, factor=quantity(lb_per_kwh, "lb/kWh"), pue=1).to("lb")


def device_hours_usd(devices: float, hours: float, usd_per_hour: float) -> float:
    """Dollars for rented devices."""
    rented = money.device_hours(devices, quantity(hours, "h"))
    return money.cost(device_hours=rented, price=quantity(usd_per_hour, "USD/h")).to("USD")


def electricity_usd(kwh: float, usd_per_kwh: float) -> float:
    """Dollars for energy at a tariff."""
    used = quantity(kwh, "kWh")
    return money.cost(energy=used, tariff=quantity(usd_per_kwh, "USD/kWh")).to("USD")


def gpu_hours_kwh(gpu_hours: float, w: float, pue: float = 1.0) -> float:
    """Facility energy: hours x watts x PUE (LLaMA 2023; BLOOM with PUE 1)."""
    return _facility(gpu_hours, w, pue).to("kWh")


def gpu_hours_tco2e(gpu_hours: float, w: float, kg_per_kwh: float, pue: float = 1.0) -> float:
    """Tonnes of CO2e: hours x watts x PUE x intensity (LLaMA 2023)."""
    return (_facility(gpu_hours, w, pue) * quantity(kg_per_kwh, "kg/kWh")).to("t")


def tco2e(mwh: float, kg_per_kwh: float) -> float:
    """Tonnes of CO2e of energy that has its PUE in it."""
    return (quantity(mwh, "MWh") * quantity(kg_per_kwh, "kg/kWh")).to("t")


def implied_g_per_kwh(t_co2e: float, gpu_hours: float, w: float, pue: float = 1.0) -> float:
    """Intensity that a model card's tonnes imply for its hours and watts."""
    return (quantity(t_co2e, "t") / _facility(gpu_hours, w, pue)).to("g/kWh")


def implied_w(kwh: float, gpu_hours: float, pue: float = 1.0) -> float:
    """Average watts of a GPU that an energy and its hours imply (Dodge et al. 2022)."""
    return (quantity(kwh, "kWh") / pue / quantity(gpu_hours, "h")).to("W")


def patterson_days(flop: float, tflops_per_chip: float, chips: float) -> float:
    """Days of training: FLOP / (TFLOP/s x chips) (Patterson et al. 2021, table 4)."""
    rate = quantity(tflops_per_chip, "TFLOP/s") * float(chips)
    return (quantity(flop, "FLOP") / rate).to("d")


def patterson_mwh(
    flop: float, tflops_per_chip: float, chips: float, w_per_chip: float, pue: float
) -> float:
    """Facility energy: hours x chips x average watts x PUE (Patterson et al. 2021, table 4)."""
    hours = patterson_days(flop, tflops_per_chip, chips) * 24.0
    return _facility(hours * chips, w_per_chip, pue).to("MWh")


def patterson_tco2e(
    flop: float,
    tflops_per_chip: float,
    chips: float,
    w_per_chip: float,
    pue: float,
    kg_per_kwh: float,
) -> float:
    """Tonnes of CO2e: energy x intensity (Patterson et al. 2021, table 4)."""
    return tco2e(patterson_mwh(flop, tflops_per_chip, chips, w_per_chip, pue), kg_per_kwh)


def lb_to_t(lb: float) -> float:
    """Pounds in tonnes."""
    return quantity(lb, "lb").to("t")


def lb_mwh_to_g_kwh(lb: float) -> float:
    """Pounds a MWh (EPA eGRID) in grams a kWh."""
    return quantity(lb, "lb/MWh").to("g/kWh")


def mix_g_per_kwh(shares: Sequence[float], factors: Sequence[float]) -> float:
    """Intensity of a mix: the sum of share x factor, both in the same order."""
    names = [f"source {i + 1}" for i in range(len(shares))]
    own = {n: quantity(f, "g/kWh") for n, f in zip(names, factors, strict=True)}
    return _mix(dict(zip(names, shares, strict=True)), own).to("g/kWh")


def embodied_kg(
    total_kg: float,
    hours: float,
    lifetime_years: float,
    utilisation: float = 1.0,
    share: float = 1.0,
) -> float:
    """Embodied share: ``TE x t / (L x 8760 x u) x R`` (ISO/IEC 21031, BLOOM, Morrison et al.)."""
    return embodied.share_of(
        quantity(total_kg, "kg"),
        quantity(hours, "h"),
        lifetime_years,
        utilisation=utilisation,
        share=share,
    ).to("kg")


def sci_g(kwh: float, g_per_kwh: float, m_g: float = 0.0, r: float = 1.0) -> float:
    """Software carbon intensity ``(E I + M) / R`` in grams a unit (ISO/IEC 21031)."""
    return carbon.sci(quantity(kwh, "kWh"), quantity(g_per_kwh, "g/kWh"), quantity(m_g, "g"), r).to(
        "g"
    )


def water_l(it_kwh: float, pue: float, wue_on: float, wue_off: float, variant: str = "li") -> float:
    """Litres of water on and off site; see ``water.VARIANTS``."""
    return water.water(
        quantity(it_kwh, "kWh"),
        pue=pue,
        wue_on=quantity(wue_on, "L/kWh"),
        wue_off=quantity(wue_off, "L/kWh"),
        variant=variant,
    ).to("L")


def flop_from_counts(macs_per_example: float, examples: float, epochs: float = 1.0) -> float:
    """Training FLOPs by counting (Amodei and Hernandez 2018, method 1)."""
    return compute.counted(macs_per_example, examples, epochs).to("FLOP")


def flop_from_gpu_time(
    gpus: float, peak_tflops: float, days: float, utilisation: float = compute.GPU_UTILISATION
) -> float:
    """Training FLOPs by GPU time (Amodei and Hernandez 2018, method 2)."""
    peak, time = quantity(peak_tflops, "TFLOP/s"), quantity(days, "d")
    return compute.from_device_time(gpus, peak, time, utilisation).to("FLOP")


def pf_days(flop: float) -> float:
    """FLOPs in petaflop/s-days."""
    return compute.pf_days(quantity(flop, "FLOP"))


def train_flop_6nd(params: float, tokens: float) -> float:
    """Training FLOPs: 6 N D."""
    return compute.training(params, tokens).to("FLOP")


def pj_per_flop(kwh: float, flop: float) -> float:
    """Picojoules a FLOP: ``kWh x 3.6e18 / FLOP``."""
    return compute.pj_per_flop(quantity(kwh, "kWh"), quantity(flop, "FLOP")).to("pJ/FLOP")


def mfu(
    tokens_per_s: float,
    params: float,
    chips: float,
    peak_tflops: float,
    layers: float = 0,
    heads: float = 0,
    head_dim: float = 0,
    seq_len: float = 0,
) -> float:
    """Model FLOPs utilisation, a share: ``tokens/s (6N + 12LHQT) / (chips x peak)`` (PaLM 2022)."""
    each = compute.palm_flops_per_token(params, layers, heads, head_dim, seq_len)
    return compute.mfu(tokens_per_s, each, chips, quantity(peak_tflops, "TFLOP/s"))


def hfu(model_utilisation: float, executed_over_model: float) -> float:
    """Hardware FLOPs utilisation: MFU x executed over model FLOPs (PaLM 2022)."""
    return compute.hfu(model_utilisation, executed_over_model)


def expected_max(scores: Sequence[float], n: int) -> float:
    """Expected best of n trials with replacement (Dodge et al. 2019)."""
    return float(trials.expected_best(scores, n, replacement=True))


def expected_max_unbiased(scores: Sequence[float], n: int) -> float:
    """Expected best of n trials without replacement (Tang et al. 2020)."""
    return float(trials.expected_best(scores, n, replacement=False))


def chinchilla_loss(
    n: float,
    d: float,
    E: float = scaling.CHINCHILLA["printed"][0],  # noqa: N803 - the papers' letters
    A: float = scaling.CHINCHILLA["printed"][1],  # noqa: N803
    B: float = scaling.CHINCHILLA["printed"][2],  # noqa: N803
    alpha: float = scaling.CHINCHILLA["printed"][3],
    beta: float = scaling.CHINCHILLA["printed"][4],
) -> float:
    """Loss ``E + A / N^alpha + B / D^beta`` (Hoffmann et al. 2022)."""
    return scaling.chinchilla_loss(n, d, (E, A, B, alpha, beta))


def kaplan_loss_parameters(n: float) -> float:
    """Loss by size alone (Kaplan et al. 2020)."""
    return scaling.kaplan_loss(parameters=n)


def kaplan_loss_tokens(d: float) -> float:
    """Loss by data alone (Kaplan et al. 2020)."""
    return scaling.kaplan_loss(tokens=d)


def kaplan_loss_pf_days(c: float) -> float:
    """Loss by optimal compute (Kaplan et al. 2020)."""
    return scaling.kaplan_loss(pf_days=c)


def log_cost_factor(delta_points: float, slope_per_decade: float) -> float:
    """Times the cost of ``delta_points`` more, by a law linear in log cost."""
    return float(fits.log_cost_factor(delta_points, slope_per_decade))


def power_law_cost_factor(err: float, delta: float, e0: float, alpha: float) -> float:
    """Times the cost of ``delta`` less error, by a power law that saturates at ``e0``."""
    return float(fits.power_law_cost_factor(err, delta, e0, alpha))


def break_even_requests(training_co2e_g: float, g_per_request: float) -> float:
    """Requests until use has cost what training did."""
    return (quantity(training_co2e_g, "g") / quantity(g_per_request, "g")).value


def _facility(hours: float, w: float, pue: float) -> Quantity:
    return carbon.facility(quantity(hours, "h") * quantity(w, "W"), pue=pue)


_mix = factors.mix
