"""The IDX reader: what it reads, and what it says to files that are none."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from cnn.data import DataError, read_idx

CODES = {"uint8": 8, "int8": 9, "int16": 0x0B, "int32": 0x0C, "float32": 0x0D, "float64": 0x0E}


def encode(array: np.ndarray) -> bytes:
    header = bytes([0, 0, CODES[array.dtype.name], array.ndim])
    return (
        header
        + struct.pack(f">{array.ndim}I", *array.shape)
        + array.astype(array.dtype.newbyteorder(">")).tobytes()
    )


SAMPLE = np.arange(24, dtype=np.int16).reshape(2, 3, 4)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "sample-idx"


@pytest.mark.parametrize("dtype", CODES)
@pytest.mark.parametrize("compressed", [False, True])
def test_every_element_type(file: Path, dtype: str, compressed: bool) -> None:
    array = SAMPLE.astype(dtype)
    file.write_bytes(gzip.compress(encode(array)) if compressed else encode(array))
    read = read_idx(str(file))
    assert read.dtype == array.dtype
    assert read.dtype.isnative
    assert np.array_equal(read, array)
    assert read.flags.writeable


def test_no_elements(file: Path) -> None:
    file.write_bytes(encode(np.zeros((0, 28, 28), np.uint8)))
    assert read_idx(file).shape == (0, 28, 28)


def refusal(file: Path, content: bytes) -> str:
    file.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_idx(file)
    message = str(caught.value)
    assert message.startswith(f"{file}: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it starts with nothing"),
        (b"\0\0\x08", "it starts with 00 00 08"),
        (b"PNG\r\n", "it starts with 50 4e 47 0d"),
        (b"\0\0\x07\x01\0\0\0\0", "type 07 and 1 dimensions"),
        (b"\0\0\x08\x00", "type 08 and 0 dimensions"),
        (b"\0\0\x08\x03\0\0\0\1\0\0\0\1", "cut off in its header, at byte 12 of 16"),
        (
            encode(SAMPLE) + b"\0",
            "65 bytes, but its header promises int16 elements of shape (2, 3, 4)",
        ),
        (b"\0\0\x08\x02" + b"\xff" * 8, "12 bytes, but its header promises"),
        (b"\0\0\x08\x64" + b"\0" * 400, "its header's shape is not possible"),
        (b"\0\0\x0e\4" + bytes(4) + b"\xff" * 12, "its header's shape is not possible"),
    ],
)
def test_what_is_wrong_is_said(file: Path, content: bytes, message: str) -> None:
    assert message in refusal(file, content)


@pytest.mark.parametrize("compressed", [False, True])
def test_every_truncation_is_found(file: Path, compressed: bool) -> None:
    whole = gzip.compress(encode(SAMPLE)) if compressed else encode(SAMPLE)
    for length in range(len(whole)):
        refusal(file, whole[:length])


def test_every_damaged_header_is_found(file: Path) -> None:
    whole = encode(SAMPLE)
    for position in range(16):
        for flipped in range(1, 256):
            content = bytearray(whole)
            content[position] ^= flipped
            refusal(file, bytes(content))


def test_damaged_gzip_never_gives_other_numbers(file: Path) -> None:
    whole = gzip.compress(encode(SAMPLE))
    refused = 0
    for position in range(len(whole)):
        for bit in range(8):
            content = bytearray(whole)
            content[position] ^= 1 << bit
            file.write_bytes(content)
            try:
                assert np.array_equal(read_idx(file), SAMPLE)  # a flag or a date in gzip's header
            except DataError:
                refused += 1
    assert refused > 8 * (len(whole) - 12)


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing: cannot be read \(No such file or directory\)"):
        read_idx(tmp_path / "nothing")
    with pytest.raises(DataError, match=r"cannot be read \(Is a directory\)"):
        read_idx(tmp_path)
