"""The questions that picojoule was made for, each answered from published figures.

What did BERT-large cost? How fast did compute grow? Do papers say what a result cost beside what it
scored? How do E, D and H share a bill? And what does the next point of accuracy cost? Try:

    python examples/founding_cases.py
"""

from __future__ import annotations

import math

from picojoule.green import blocks, compute, footprint, known, laws, money
from picojoule.green.compute import Growth
from picojoule.green.edh import EDH, decompose
from picojoule.green.model import Run, Study
from picojoule.green.quantities import Quantity

#: Forward passes and accuracy on ImageNet, 224 x 224: GMACs, top-1 in percent (ptflops, 2019).
RESNETS = {
    "resnet18": (1.82, 70.142),
    "resnet34": (3.68, 73.554),
    "resnet50": (4.12, 76.002),
    "resnet101": (7.85, 77.438),
    "resnet152": (11.58, 78.428),
}
GMAC = 2e9  # FLOP


def bert_large() -> Quantity:
    """64 TPU chips for 4 days are 16 Cloud TPU v2 devices for 96 h, at $4.50 each (2019)."""
    hours = money.device_hours(16, "96 h")
    return money.cost(device_hours=hours, price="4.50 USD/h")


def ai_and_compute() -> tuple[Growth, str]:
    """From AlexNet (2012) to AlphaGo Zero (2017), and where a run of today stands among systems."""
    alexnet = compute.from_device_time(2, "1.58 TFLOP/s", "5.5 d", 0.33)
    alphago_zero = Quantity(
        1900 * 8.64e19, alexnet.dimension, provenance="published", basis="the chart's data, 2018"
    )
    grown = compute.growth(alexnet, alphago_zero, "2012-12", "2017-10")
    return grown, str(known.compare("3.1e17 FLOP"))


def small_study() -> Study:
    """Five networks tried, the best of them trained on two more seeds; one run was lost."""
    runs = []
    for i, (name, (gmacs, top1)) in enumerate(RESNETS.items()):
        runs.append(_run(i, name, gmacs, top1, role="tune"))
    runs += [_run(10 + s, "resnet152", 11.58, 78.428 + d, "final", str(s)) for s, d in
             ((1, 0.11), (2, -0.08))]  # fmt: skip
    runs.append(_run(20, "resnet152", 5.8, math.nan, "tune", status="lost"))
    return Study("resnets", runs, {"region": "USA", "pue": 1.1, "score": "top1"})


def _run(
    i: int, name: str, gmacs: float, top1: float, role: str, seed: str = "0", status: str = "ok"
) -> Run:
    flops = gmacs * GMAC * 3 * 1.28e6 * 90  # forward and backward, 90 epochs of ImageNet
    joules = flops * 10e-12  # 10 pJ/FLOP, an assumption for a board of its time
    return Run(
        uid=f"{i:032x}",
        study="resnets",
        role=role,
        status=status,
        config={"network": name},
        config_hash=f"{list(RESNETS).index(name):016x}",
        seed=seed,
        duration_s=joules / 250.0,
        device_count=1.0,
        device_name="NVIDIA Tesla V100 SXM2 16GB",
        energy_j=joules,
        energy_low_j=0.8 * joules,
        energy_high_j=1.2 * joules,
        energy_provenance="modelled",
        energy_basis="10 pJ/FLOP (8 to 12) assumed",
        flops=flops,
        flops_provenance="counted",
        examples=1.28e6 * 90,
        dataset="ImageNet",
        dataset_size=1.28e6,
        scores={} if math.isnan(top1) else {"top1": top1},
        score_larger_is_better={"top1": True},
    )


def score_and_cost() -> str:
    """What a survey of papers looks for: the paragraph with the score and what it cost."""
    study = small_study()
    return blocks.render("markdown", study, footprint.of(study))


def lisa() -> EDH:
    """Research and development of LISA: 4,789 jobs, 239,942 h; the final one took 120 h."""
    jobs, hours, final = 4789, 239_942.0, 120.0
    mean = (hours - final) / (jobs - 1)
    runs = [
        Run(
            uid=f"{i:032x}",
            study="lisa",
            role="tune" if i else "final",
            config_hash=f"{i:016x}",
            duration_s=3600 * (mean if i else final),
            device_count=1.0,
            origin="published: Strubell et al. 2019, table 4",
        )
        for i in range(jobs)
    ]
    return decompose(Study("lisa", runs), "hours")


def next_point() -> dict[str, laws.NextPoint]:
    """What one more point of ImageNet accuracy costs along one family, by both laws."""
    cost = [gmacs * GMAC for gmacs, _ in RESNETS.values()]
    score = [top1 for _, top1 in RESNETS.values()]
    out = {}
    for law in laws.LAWS:
        fitted = laws.fit(cost, score, law, unit="FLOP", basis="ResNet-18 to 152, ptflops 2019")
        try:
            out[law] = fitted.next_point()
        except laws.Refusal as why:
            print(f"  {law} law: no price: {why.reason}")
    return out


def main() -> None:
    """Print all of them."""
    print(f"BERT-large, 64 TPU v2 chips for 4 days: {bert_large()}")
    grown, placed = ai_and_compute()
    print(f"AlexNet to AlphaGo Zero: {grown}")
    print(f"A run of 3.1e17 FLOP: {placed}")
    print(f"\n{score_and_cost()}")
    print("LISA, by hours:")
    for line in lisa().lines():
        print(f"  {line}")
    print("\nOne more point of top-1 on ImageNet:")
    for law, point in next_point().items():
        print(f"  {law} law: {point}")


if __name__ == "__main__":
    main()
