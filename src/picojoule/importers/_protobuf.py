"""The protobuf wire format, read without protobuf: just enough for an XSpace."""

from __future__ import annotations

import struct
from collections.abc import Iterator

Field = tuple[int, int | bytes]  # field number; varint or fixed as int, the rest as bytes

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class WireError(ValueError):
    """These bytes are no protobuf message, or one that was cut."""


def varint(data: bytes, at: int) -> tuple[int, int]:
    """The unsigned varint at ``at``, and where the next byte is; raises WireError."""
    value = shift = 0
    while shift < 70:
        if at >= len(data):
            raise WireError("the message ends inside a number")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
        shift += 7
    raise WireError("a number is longer than 64 bits")


def fields(data: bytes) -> Iterator[Field]:
    """The fields of a message in their order; raises WireError on the first bad one."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        number, wire = key >> 3, key & 7
        if not number:
            raise WireError("a field has the number 0")
        if wire == _VARINT:
            value, at = varint(data, at)
            yield number, value
            continue
        if wire == _BYTES:
            size, at = varint(data, at)
        elif wire == _FIXED64:
            size = 8
        elif wire == _FIXED32:
            size = 4
        else:
            raise WireError(f"unknown wire type {wire}")
        if at + size > len(data):
            raise WireError("the message ends inside a field")
        part = data[at : at + size]
        at += size
        yield number, part if wire == _BYTES else int.from_bytes(part, "little")


def signed(value: int | bytes) -> int:
    """A varint field as int64; raises WireError if the field is of another type."""
    if isinstance(value, bytes):
        raise WireError("a field that should be a number is not")
    return value - (1 << 64) if value >> 63 else value


def blob(value: int | bytes) -> bytes:
    """A length-delimited field; raises WireError if the field is of another type."""
    if isinstance(value, bytes):
        return value
    raise WireError("a field that should be a message is a number")


def text(value: int | bytes) -> str:
    """A string field; bytes that are no UTF-8 are replaced."""
    return blob(value).decode("utf-8", "replace")


def double(value: int | bytes) -> float:
    """A fixed64 field as double; raises WireError if the field is of another type."""
    if isinstance(value, bytes):
        raise WireError("a field that should be a number is not")
    number: float = struct.unpack("<d", value.to_bytes(8, "little"))[0]
    return number
