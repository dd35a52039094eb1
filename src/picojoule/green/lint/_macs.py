"""Rules on multiply-accumulates and floating point operations: 1 MAC = 2 FLOP."""

from __future__ import annotations

import re
from collections.abc import Iterator

from picojoule.green.lint._finding import Finding
from picojoule.green.lint._numbers import NUMBER, read
from picojoule.green.lint._read import Card, Claim, Group

_PF_DAY = 8.64e19

#: GMACs of one forward pass at the usual input, ptflops 2019 (MIT): the table of Green AI, fig. 4.
_GMACS = {
    "alexnet": 0.72, "resnet-18": 1.82, "resnet-34": 3.68, "resnet-50": 4.12,
    "resnet-101": 7.85, "resnet-152": 11.58, "densenet-121": 2.88, "densenet-161": 7.82,
    "densenet-169": 3.42, "densenet-201": 4.37, "inception-v3": 5.73, "inception-v4": 12.31,
    "vgg-11": 7.63, "vgg-13": 11.34, "vgg-16": 15.5, "vgg-19": 19.67, "xception": 8.42,
    "senet-154": 20.82,
}  # fmt: skip
_NAMES = {n: re.compile(re.escape(n).replace(r"\-", "-?") + r"(?![\d-]*\d)") for n in _GMACS}
_FLOP = re.compile(r"FLOPs?\b|FPO\b", re.I)
#: A card that says that its FLOPs are MACs has told its convention.
_TOLD = re.compile(
    r"FLOPs?\b[^.;\d]{0,30}\b(?:as|are|is|mean\w*|denotes?|i\.e\.,?)\s+(?:\w+\s+){0,2}MACs?\b"
    r"|MACs?\s+(?:as|is|=)\s+(?:1|one|a)\s+FLOP|(?:1|one|a)\s+FLOP\s*(?:is|=)\s*(?:1|one|a)\s+MAC",
    re.I,
)


def check(card: Card) -> Iterator[Finding]:
    """All findings of these rules."""
    for group in card.groups:
        yield from _six_nd(group)
        yield from _counting(group)
    told = bool(_TOLD.search("\n".join(card.lines)))
    found: set[int] = set()
    for finding in () if told else (*_same(card), *_known(card)):
        if finding.line not in found:
            found.add(finding.line)
            yield finding


def _six_nd(group: Group) -> Iterator[Finding]:
    flop, params, tokens = group.one("flop"), group.one("parameter"), group.one("token")
    if flop is None or params is None or tokens is None or not params.value * tokens.value > 0:
        return
    ratio = flop.value / (params.value * tokens.value)
    if abs(ratio / 3.0 - 1) < 0.1:
        yield Finding(
            flop.line,
            "mac-flop",
            f"{flop.value:.3g} is 3 x parameters x tokens: those are MACs; training takes 6 FLOP "
            "for each parameter and token",
        )


def _counting(group: Group) -> Iterator[Finding]:
    """Operation counting: MACs of a forward pass x 2 x 3 x examples x epochs."""
    mac, flop = group.one("mac"), group.one("flop")
    examples = group.one("example") or group.one("token") or group.one("image")
    if mac is None or flop is None or examples is None or group.kind != "row":
        return
    epochs = group.one("epochs")
    expected = 6.0 * mac.value * examples.value * (epochs.value if epochs else 1.0)
    ratio = flop.value / expected if expected > 0 else 0.0
    if 0.9 < ratio < 1.1 or not ratio:
        return
    said = (
        f"counting gives {expected / _PF_DAY:.3g} pf-days ({expected:.3g} FLOP), "
        f"the card says {flop.value / _PF_DAY:.3g}"
    )
    if 0.45 < ratio < 0.55:
        yield Finding(flop.line, "mac-flop", f"{said}: half, as MACs called FLOP")
    else:
        yield Finding(flop.line, "recompute", f"{said} ({ratio:.3g} times)")


def _same(card: Card) -> Iterator[Finding]:
    """As many FLOP as MACs, of one thing."""
    for group in card.groups:
        for mac in group.of("mac"):
            for flop in group.of("flop"):
                if _equal(mac, flop) and (group.kind != "paragraph" or mac.line == flop.line):
                    yield Finding(
                        flop.line,
                        "mac-flop",
                        f"{flop.number.text} FLOP and {mac.number.text} MACs are the same number; "
                        f"1 MAC = 2 FLOP, so that is {2 * mac.value:.4g} FLOP",
                    )


def _equal(mac: Claim, flop: Claim) -> bool:
    return mac.value > 0 and flop.number.low <= mac.number.high and mac.number.low <= (
        flop.number.high
    ) and abs(flop.value / mac.value - 1) < 0.03  # fmt: skip


def _known(card: Card) -> Iterator[Finding]:
    """A network's MACs, as tables print them, called FLOP."""
    heads = {i: " ".join(t.head) for t in card.tables for i in t.lines}
    around = _around(card)
    for line, text in enumerate(card.lines, 1):
        scope = f"{text} {heads.get(line, '')}"
        if not _FLOP.search(scope):
            continue
        own = _named(text)
        for name in own or around.get(line, []):
            found = _macs_called_flop(text, _GMACS[name], in_table="|" in text)
            if found is not None:
                yield Finding(
                    line,
                    "mac-flop",
                    f"{found:g} G are the multiply-accumulates of {name} ({_GMACS[name]:g} GMAC); "
                    f"in FLOP that is {2 * _GMACS[name]:g} G",
                )


def _macs_called_flop(text: str, gmacs: float, in_table: bool) -> float | None:
    for match in NUMBER.finditer(text):
        number, after = read(match), text[match.end() :]
        if re.match(r"\s*[GMT]?MACs?\b", after, re.I):
            continue
        value = number.value / 1e9 if number.value > 1e6 else number.value
        large = number.value > 1e6 or re.match(r"\s*(?:G|B|billion)", after)
        if abs(value / gmacs - 1) < 0.03 and (large or in_table):
            return value
    return None


def _named(text: str) -> list[str]:
    low = re.sub(r"[\s_]", "-", text.lower())
    return [name for name, pattern in _NAMES.items() if pattern.search(low)]


def _around(card: Card) -> dict[int, list[str]]:
    """By line: the one network of its paragraph, list or heading."""
    out: dict[int, list[str]] = {}
    heading: list[str] = []
    block: list[int] = []
    for line, text in [*enumerate(card.lines, 1), (0, "")]:
        if text.strip() and not text.lstrip().startswith("#"):
            block.append(line)
            continue
        names = sorted({n for at in block for n in _named(card.lines[at - 1])}) or heading
        if len(names) == 1:
            out.update(dict.fromkeys(block, names))
        block = []
        if text.lstrip().startswith("#"):
            heading = _named(text)
    return out
