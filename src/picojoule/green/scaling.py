"""Published laws of how the loss of language models falls with size, data and compute."""

from __future__ import annotations

from picojoule.errors import UsageError

#: Hoffmann et al. 2022 as printed, as in its TeX source, and as refitted by Besiroglu et al. 2024:
#: E, A, B, alpha, beta.
CHINCHILLA = {
    "printed": (1.69, 406.4, 410.7, 0.34, 0.28),
    "refit": (1.8172, 482.01, 2085.43, 0.3478, 0.3658),
}

#: Kaplan et al. 2020: scale and exponent by parameters, tokens, and pf-days of optimal compute.
KAPLAN = {
    "parameters": (8.8e13, 0.076),
    "tokens": (5.4e13, 0.095),
    "pf_days": (3.1e8, 0.050),
}


def chinchilla_loss(
    parameters: float,
    tokens: float,
    fit: str | tuple[float, float, float, float, float] = "printed",
) -> float:
    """Loss in nats a token: ``E + A / N^alpha + B / D^beta``.

    Args:
        parameters: N.
        tokens: D.
        fit: a key of ``CHINCHILLA``, or the five constants.

    Keep the digits of the exponents: rounding them moves the best D/N fivefold.

    Raises:
        UsageError: an unknown fit; numbers that are not above 0.
    """
    if isinstance(fit, str):
        if fit not in CHINCHILLA:
            raise UsageError(f"there is no fit {fit!r}; there are: {', '.join(CHINCHILLA)}")
        fit = CHINCHILLA[fit]
    if not (parameters > 0 and tokens > 0):
        raise UsageError("parameters and tokens must be above 0")
    least, a, b, alpha, beta = fit
    return float(least + a / parameters**alpha + b / tokens**beta)


def kaplan_loss(
    *,
    parameters: float | None = None,
    tokens: float | None = None,
    pf_days: float | None = None,
) -> float:
    """Loss in nats a token by one of size, data or compute: ``(scale / x)^exponent``.

    Raises:
        UsageError: none or several of them; a number that is not above 0.
    """
    told = {
        name: value
        for name, value in (("parameters", parameters), ("tokens", tokens), ("pf_days", pf_days))
        if value is not None
    }
    if len(told) != 1:
        raise UsageError("say exactly one of parameters=, tokens= and pf_days=")
    name, value = next(iter(told.items()))
    if not value > 0:
        raise UsageError(f"{name} must be above 0, not {value}")
    scale, exponent = KAPLAN[name]
    return float((scale / value) ** exponent)
