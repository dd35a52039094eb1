"""The estimator of ``pj.attribute`` once more, in NumPy, dense and slow: an oracle for the native
one. For one stream, no lag and no drift; the noise is given, not found."""

from math import erfc, exp, pi, sqrt

import numpy as np


def before(edge, std, begin, end):
    """Expected seconds of [begin, end) before an instant known as edge +- std (normal)."""

    def upper(u):
        x = (u - edge) / std
        return std * (exp(-0.5 * x * x) / sqrt(2 * pi) - x * 0.5 * erfc(x / sqrt(2)))

    return (upper(begin) - upper(end)) * 1e-9


def twin(begins, ends, values, spans, classes, edge_std, value_std, noise, prior, prior_cv):
    n, k = len(values), len(prior)
    rows, at = np.zeros((n, k + 1)), np.zeros((n + 1, k + 1))
    edges = np.append(begins, ends[-1])
    full = [(b, e, c) for (b, e), c in zip(spans, classes, strict=True)]
    cuts = np.array([-1e12, *np.ravel(spans), 1e12])
    full += [(b, e, k) for b, e in cuts.reshape(-1, 2)]  # idle
    for b, e, c in full:
        inside = [before(t, edge_std, b, e) for t in edges]
        rows[:, c] += np.diff(inside)
        near = [[0.5 * erfc((t - x) / edge_std / sqrt(2)) for x in (b, e)] for t in edges]
        at[:, c] += [late - early for early, late in near]
    mean = values.sum() / (ends - begins).sum() * 1e9
    center = np.append(prior, 0.4 * mean)
    spread = np.append(noise["prior_scale"] * prior_cv * prior, 0.6 * mean)
    common = np.append(prior, 0.0)
    inner = np.linalg.inv(np.diag(spread**2) + 0.25 * np.outer(common, common))
    rates = center
    for _ in range(40):  # the noise of an edge depends on what runs there
        edge2 = noise["edge_scale"] * (edge_std * 1e-9 * np.maximum(at @ rates, 0.02 * mean)) ** 2
        sigma = np.diag(value_std**2 + noise["process"] * (ends - begins) * 1e-9)
        sigma += np.diag(edge2[:-1] + edge2[1:])
        sigma -= np.diag(edge2[1:-1], 1) + np.diag(edge2[1:-1], -1)
        weight = np.linalg.inv(sigma)
        post = np.linalg.inv(rows.T @ weight @ rows + inner)
        rates = post @ (rows.T @ weight @ values + inner @ center)
    return rates, post, rows
