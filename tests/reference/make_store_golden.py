#!/usr/bin/env python3
"""Golden values of imago_crc (docs/formats/library.md): tests/golden/store/crc.tsv.

An independent, plain implementation: CRC-32C (RFC 3720, reflected 0x1edc6f41) over each value's type
byte, a 64-bit little-endian word, and for texts and blobs their bytes. No seed: the values are listed.
Python 3 alone; written with 3.11."""
import pathlib
import struct


def crc32c(data, crc=0):
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def encode(value):
    if value is None:
        return b"\x05" + bytes(8)
    if isinstance(value, int):
        return b"\x01" + struct.pack("<q", value)
    if isinstance(value, float):
        return b"\x02" + struct.pack("<d", value if value != 0 else 0.0)
    if isinstance(value, str):
        data = value.encode()
        return b"\x03" + struct.pack("<Q", len(data)) + data
    return b"\x04" + struct.pack("<Q", len(value)) + value


def literal(value):
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, bytes):
        return "X'" + value.hex() + "'"
    return repr(value)


CASES = [
    [],
    [0], [1], [-1], [2**63 - 1], [-(2**63) + 1],
    [0.5], [-2.25], [0.0], [1e300], [48.856613],
    [""], ["a"], ["Caméra"], ["123456789"],
    [b""], [b"\x00"], [bytes(range(32))],
    [None], [None, None], [1, None], [None, 1], ["ab", "c"], ["a", "bc"], [b"ab", "ab"],
    [bytes(range(32)), 1000, "jpeg", 4000, 3000, -7, 0, 1000000000, -60, 48.5, -2.25, "Canon", "50mm", 17],
]

out = pathlib.Path(__file__).parent.parent / "golden" / "store" / "crc.tsv"
assert crc32c(b"123456789") == 0xE3069283
with out.open("w", encoding="utf-8") as file:
    file.write("# made by tests/reference/make_store_golden.py: CRC, then the values as SQL\n")
    for values in CASES:
        crc = crc32c(b"".join(encode(v) for v in values))
        file.write(f"{crc}\t{', '.join(literal(v) for v in values)}\n")
