"""FLOPs of HLO's convolution, and the windows that it shares with reduce-window."""

from __future__ import annotations

import math
import re

from picojoule.flops._hlo_parse import HloSyntaxError, Instruction, Shape
from picojoule.flops._hlo_work import Work, known, product_type

_WINDOW = re.compile(r"(\w+)=([\d\-x_]+)")


def window(text: str) -> dict[str, list[tuple[int, ...]]]:
    """``{size=3x3 pad=1_1x1_1 stride=2x2}`` as numbers for each dimension."""
    return {
        key: [tuple(int(n) for n in part.split("_")) for part in value.split("x")]
        for key, value in _WINDOW.findall(text)
    }


def taps(
    out: int,
    size: int,
    into: int,
    w: dict[str, list[tuple[int, ...]]],
    d: int,
    *,
    padding: bool = False,
) -> int:
    """Pairs of output position and window position that fall on an element, along dimension ``d``.

    ``into`` is the size of the input; the rest is in the window ``w``. With ``padding`` also those
    that fall outside, but never those between the elements of a dilated input.
    """

    def setting(key: str, default: int) -> int:
        return w[key][d][0] if key in w else default

    low = setting("pad", 0)
    stride, dilate = setting("stride", 1), setting("rhs_dilate", 1)
    holes = setting("lhs_dilate", 1)
    span = (into - 1) * holes  # the last position that holds an element
    count = 0
    for k in range(size):
        # Of position o * stride + k * dilate - low: between 0 and span, and a multiple of holes.
        shift = k * dilate - low
        first, last = 0, out - 1
        if not padding:
            first = max(first, -(shift // stride))  # ceil(-shift / stride)
            last = min(last, (span - shift) // stride)
        if last < first:
            continue
        if holes == 1:
            count += last - first + 1
        else:
            step = holes // math.gcd(stride, holes)
            hit = next(
                (o for o in range(first, first + step) if (o * stride + shift) % holes == 0), None
            )
            if hit is not None and hit <= last:
                count += (last - hit) // step + 1
    return count


def convolution(
    instruction: Instruction, lhs: Shape, rhs: Shape, out: Shape, platform: str
) -> Work:
    """2 FLOP (8 for complex numbers) for each tap, dense.

    Along each dimension the pairs of positions are out x window, but no more than in x window:
    taps on padding count, as in PyTorch's formulas, zeros between the elements of a dilated input
    do not, and so each gradient of a convolution has the FLOPs of the convolution. FLOPs on padding
    are kept in ``padding``; without them the count is that of XLA's ``cost_analysis``.
    """
    labels = re.match(r"(\w+)_(\w+)->(\w+)$", instruction.attributes.get("dim_labels", ""))
    if not labels:
        raise HloSyntaxError(f"{instruction.name}: a convolution without dim_labels")
    w = window(instruction.attributes.get("window", ""))
    dense = valid = 1
    for d, letter in enumerate(sorted(c for c in labels[1] if c.isdigit())):
        into = lhs.dims[labels[1].index(letter)]
        size = rhs.dims[labels[2].index(letter)]
        to = out.dims[labels[3].index(letter)]
        dense *= min(into * size, taps(to, size, into, w, d, padding=True))
        valid *= taps(to, size, into, w, d)
    each = 8 if lhs.type.startswith("c") else 2
    each *= out.dims[labels[3].index("b")] * out.dims[labels[3].index("f")]
    each *= rhs.dims[labels[2].index("i")]
    type = product_type(
        [lhs.type, rhs.type],
        instruction.attributes.get("algorithm", ""),
        instruction.attributes.get("operand_precision", ""),
        platform,
    )
    work = known("conv", type, each * dense)
    if valid < dense:
        work.padding = float(each * (dense - valid))
        work.notes.append(
            f"padding counted as in PyTorch's formulas; {each * valid:,} FLOP without it"
        )
    return work


def touching(out: int, size: int, into: int, w: dict[str, list[tuple[int, ...]]], d: int) -> int:
    """Output positions along ``d`` whose window does not lie on padding alone."""
    low = w["pad"][d][0] if "pad" in w else 0
    stride = w["stride"][d][0] if "stride" in w else 1
    reach = (size - 1) * (w["rhs_dilate"][d][0] if "rhs_dilate" in w else 1)
    span = (into - 1) * (w["lhs_dilate"][d][0] if "lhs_dilate" in w else 1)
    first = max(0, -((reach - low) // stride))
    return max(0, min(out - 1, (span + low) // stride) - first + 1)
