"""What runs at once: the exponent of sharing is found, and its doubt is in the intervals."""

from __future__ import annotations

import numpy as np
import pytest

import picojoule as pj


def solved(seed, **parameters):
    sim = pj.simulate.run(
        "streams", "gh100_instant", duration_s=60.0, seed=seed, edges=20e-6, **parameters
    )
    return sim, pj.attribute(**sim.arguments())


@pytest.mark.parametrize("sharing", [0.0, 0.3, 0.8])
def test_many_classes_share_by_what_their_readings_say(sharing):
    """So many that the noise is fitted to residuals, not by evidence."""
    sim = pj.simulate.run(
        "streams", "gh100_instant", duration_s=900.0, seed=3, edges=20e-6, n_classes=100,
        sharing=sharing,
    )  # fmt: skip
    found = pj.attribute(**sim.arguments())
    assert np.isnan(found.noise["log_evidence"])
    assert found.noise["sharing"] == pytest.approx(sharing, abs=0.005)
    truth = sim.truth.energy
    assert np.abs(found.energy - truth).sum() < 0.003 * truth.sum()
    z = (found.energy - truth) / found.energy_std
    assert 0.7 < np.sqrt(np.mean(z**2)) < 1.3


def test_doubt_of_sharing_is_doubt_of_energy():
    """Two that hardly ever run alone: how they share is the most that is not known of them."""
    z = []
    for seed in range(20):
        sim, found = solved(seed, busy=0.97, n_classes=2)
        z.append((found.energy - sim.truth.energy) / found.energy_std)
    assert np.mean(np.abs(z) < 1.96) >= 0.9
    assert np.sqrt(np.mean(np.square(z))) < 1.1


def test_parts_of_streams_add_up():
    _, found = solved(1, n_streams=3, n_classes=9)
    parts = found.energy.sum() + found.baseline_energy + found.unattributed
    assert parts == pytest.approx(found.total, rel=1e-12)
    w = np.linalg.eigvalsh(found.cov)
    assert w.min() > -1e-9 * w.max()
