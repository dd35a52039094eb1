"""Valence and arousal from faces, leave one site out: what did the result cost?

A CNN-LSTM reads short synthetic clips of 45 faces, filmed at four sites that differ in light, lens
and noise. It is trained four times, each time without one site, and tested on that one. Every
training is a run of one study: fold, configuration and seed are keys of their own. Then the same
report of a published study of this kind, of which only the hours are known. Try:

    python examples/loso_cnn_lstm.py --region ESP --html loso.html
    python examples/loso_cnn_lstm.py --quick
    python examples/loso_cnn_lstm.py --quick --seeds 2 --configs 2
"""

from __future__ import annotations

import argparse
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import picojoule as pj
from picojoule.green import ledger, modelled, report, report_html, report_text
from picojoule.green.model import Run, Study

try:
    import torch
    from torch import nn
except ImportError:
    sys.exit("This example needs PyTorch. Install it with: pip install '.[torch]'")

Array = NDArray[np.float32]

#: Subjects of each site, 45 in all.
SITES = {"ITCL": 12, "BrainSigns": 11, "Audeering": 11, "Cambridge": 11}
SIDE, FRAMES = 24, 8

#: Hours that were published: four folds, 11.5 h each, one node a fold. The device was not named.
PUBLISHED_HOURS = 11.5


@dataclass
class Clips:
    """Clips (n, frames, side, side), what is felt in them (n, 2), and where they were filmed."""

    images: Array
    feelings: Array
    sites: NDArray[np.str_]


def faces(per_subject: int, rng: np.random.Generator) -> Clips:
    """Film everybody: the mouth's curve says valence, its opening and the brows say arousal."""
    images, feelings, sites = [], [], []
    for number, (site, subjects) in enumerate(SITES.items()):
        light, noise, zoom = 0.75 + 0.12 * number, 0.04 + 0.03 * number, 0.92 + 0.06 * number
        for _ in range(subjects):
            width, skin, rest = rng.normal(0.62, 0.03), rng.normal(0.6, 0.06), rng.normal(0, 0.08)
            for _ in range(per_subject):
                felt = rng.uniform(-1, 1, 2)
                clip = film(felt + rest, width, zoom) * skin * light
                images.append(clip + noise * rng.standard_normal(clip.shape))
                feelings.append(felt)
                sites.append(site)
    return Clips(np.array(images, np.float32), np.array(feelings, np.float32), np.array(sites))


def film(felt: NDArray[np.float64], width: float, zoom: float) -> NDArray[np.float64]:
    """One clip: a face whose expression rises from neutral to what is ``felt``."""
    axis = np.linspace(-1, 1, SIDE) / zoom
    x, y = np.meshgrid(axis, axis)
    rise = np.linspace(0.2, 1.0, FRAMES)[:, None, None]
    valence, arousal = felt[0] * rise, (felt[1] + 1) / 2 * rise
    face = (x / width) ** 2 + (y / 0.85) ** 2 < 1
    out = np.repeat(face[None].astype(float), FRAMES, axis=0)
    for eye in (-0.26, 0.26):
        out -= 0.8 * ((x - eye) ** 2 + (y + 0.25) ** 2 < 0.012)
        brow = np.abs(y + 0.42 + 0.14 * arousal) < 0.05
        out -= 0.5 * (brow & (np.abs(x - eye) < 0.16))
    lips = np.abs(y - 0.42 + 0.9 * valence * (x**2 - 0.06)) < 0.045 + 0.12 * arousal
    out -= 0.7 * (lips & (np.abs(x) < 0.34))
    return out


class CnnLstm(nn.Module):  # type: ignore[misc, unused-ignore]
    """Two convolutions look at each frame, an LSTM at their order."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.look = nn.Sequential(
            nn.Conv2d(1, 8, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.follow = nn.LSTM(16 * (SIDE // 4) ** 2, hidden, batch_first=True)
        self.tell = nn.Linear(hidden, 2)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """(n, frames, side, side) -> (n, 2): valence and arousal."""
        n = clips.shape[0]
        seen = self.look(clips.reshape(n * FRAMES, 1, SIDE, SIDE)).reshape(n, FRAMES, -1)
        states, _ = self.follow(seen)
        told: torch.Tensor = self.tell(states[:, -1])
        return told


def ccc(told: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    """Concordance correlation coefficient of each column (Lin 1989)."""
    a, b = told - told.mean(0), true - true.mean(0)
    apart = (told.mean(0) - true.mean(0)) ** 2
    return 2 * (a * b).mean(0) / ((a**2).mean(0) + (b**2).mean(0) + apart + 1e-8)


def train(clips: Clips, held_out: str, config: dict[str, float], seed: int) -> CnnLstm:
    """Train on all sites but one."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = CnnLstm(int(config["hidden"]))
    optimizer = torch.optim.Adam(model.parameters(), lr=config["lr"])
    chosen = np.flatnonzero(clips.sites != held_out)
    for _ in range(int(config["epochs"])):
        for part in np.array_split(rng.permutation(chosen), max(1, len(chosen) // 32)):
            told = model(torch.from_numpy(clips.images[part]))
            loss = (1 - ccc(told, torch.from_numpy(clips.feelings[part]))).mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call, unused-ignore]
            optimizer.step()
    return model


def test(model: CnnLstm, clips: Clips, site: str) -> tuple[float, float]:
    """CCC of valence and of arousal at a site that the model has not seen."""
    chosen = np.flatnonzero(clips.sites == site)
    with torch.no_grad():
        told = model(torch.from_numpy(clips.images[chosen]))
    valence, arousal = ccc(told, torch.from_numpy(clips.feelings[chosen])).tolist()
    return valence, arousal


def leave_one_site_out(args: argparse.Namespace) -> Study:
    """All folds, configurations and seeds, as runs of one study in the ledger."""
    settings = {"region": args.region, "pue": "personal", "protocol": "leave-one-site-out"}
    study = pj.study("loso-cnn-lstm", ledger=args.ledger, score="ccc_valence", **settings)
    torch.set_num_threads(1)  # more would only wait for each other: the batches are small
    clips = faces(6 if args.quick else 16, np.random.default_rng(0))
    epochs = 4 if args.quick else 10
    configs = [{"hidden": 32 * (c + 1), "lr": 3e-3, "epochs": epochs} for c in range(args.configs)]
    role = "final" if args.configs == 1 else "tune"
    for config in configs:
        for seed in range(args.seeds):
            for site in SITES:
                with study.profile(config=config, fold=site, seed=seed, role=role) as p:
                    model = train(clips, site, config, seed)
                    valence, arousal = test(model, clips, site)
                trained = int((clips.sites != site).sum())
                p.score(
                    ccc_valence=valence,
                    ccc_arousal=arousal,
                    larger_is_better=True,
                    examples=trained * epochs,
                    dataset="synthetic faces",
                    dataset_size=trained,
                    parameters=sum(w.numel() for w in model.parameters()),
                    device_count=1,
                    device_name="CPU node",
                )
                print(f"without {site:<11} CCC valence {valence:.3f}, arousal {arousal:.3f}")
    return study.read()


def published(where: Path) -> Study:
    """The published hours as a ledger of their own: hours known, energy unknown."""
    book = ledger.open(where)
    name = "published-loso"
    for site in SITES:
        run = Run(
            uid=uuid.uuid4().hex,
            study=name,
            role="final",
            config_hash="0" * 16,
            fold=site,
            duration_s=PUBLISHED_HOURS * 3600,
            device_count=1,
            energy_basis="no power record; device not named",
            origin="published: 4 folds x 11.5 h, one GPU node each",
        )
        book.add(run)
    return book.study(name)


def main() -> None:
    """Train, report, and report what was published."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="few clips, few epochs")
    parser.add_argument("--configs", type=int, default=1, help="sizes of the LSTM to try")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--region", help="country, for CO2e; WLD is the world's average grid")
    parser.add_argument("--ledger", type=Path, default=Path("loso.db"))
    parser.add_argument("--published", type=Path, default=Path("loso-published.db"))
    parser.add_argument("--device", default="NVIDIA Tesla V100 SXM2 16GB", help="to assume for it")
    parser.add_argument("--html", type=Path, help="write the report as a page")
    args = parser.parse_args()
    for path in (args.ledger, args.published):
        if path.exists():
            parser.error(f"{path} exists; name another, or remove it")

    found = report.of(leave_one_site_out(args))
    print("\n" + report_text.render(found))
    if args.html:
        report_html.write(found, args.html)
    hours = published(args.published)
    print(report_text.render(report.of(hours)))
    print(f"The same, had it run on {args.device}:\n")
    named = modelled.on_device(hours, args.device)
    print(report_text.render(report.of(named, {"region": args.region})))


if __name__ == "__main__":
    main()
