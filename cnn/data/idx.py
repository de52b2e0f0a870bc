"""Reader of IDX files, the format of MNIST: big-endian arrays behind a short header.

Two zero bytes, a byte for the element type, a byte for the number of dimensions, a 32-bit size
for each dimension, then the elements (Y. LeCun, http://yann.lecun.com/exdb/mnist/).
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import numpy as np

from cnn.arrays import AnyArray
from cnn.data.errors import DataError

GZIP_MAGIC = b"\x1f\x8b"
ELEMENT_TYPES: dict[int, np.dtype[Any]] = {
    0x08: np.dtype(">u1"),
    0x09: np.dtype(">i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}


def read_idx(source: str | Path | Traversable) -> AnyArray:
    """Read an IDX file, plain or compressed with gzip.

    Parameters
    ----------
    source : str, pathlib.Path or importlib.resources.abc.Traversable
        The file.

    Returns
    -------
    array
        Of the shape and element type that the header says, in native byte order.

    Raises
    ------
    DataError
        If the file cannot be read or is not exactly one IDX array.
    """
    path = Path(source) if isinstance(source, str) else source
    content = _content(path)
    if len(content) < 4 or content[:2] != b"\0\0":
        raise DataError(
            f"{path}: not an IDX file (it must start with 00 00, an element type and a number of "
            f"dimensions; it starts with {content[:4].hex(' ') or 'nothing'})"
        )
    code, ndim = content[2], content[3]
    if code not in ELEMENT_TYPES or ndim == 0:
        known = ", ".join(f"{number:02x}" for number in ELEMENT_TYPES)
        raise DataError(
            f"{path}: an IDX header must name an element type ({known}) and 1 or more dimensions, "
            f"this one says type {code:02x} and {ndim} dimensions"
        )
    start = 4 + 4 * ndim
    if len(content) < start:
        raise DataError(f"{path}: cut off in its header, at byte {len(content)} of {start}")
    return _elements(path, content, start, ELEMENT_TYPES[code])


def _elements(
    path: Path | Traversable, content: bytes, start: int, element: np.dtype[Any]
) -> AnyArray:
    shape = struct.unpack(f">{(start - 4) // 4}I", content[4:start])
    expected = start + math.prod(shape) * element.itemsize
    if len(content) != expected:
        raise DataError(
            f"{path}: {len(content)} bytes, but its header promises {element.newbyteorder('=')} "
            f"elements of shape {shape}, {expected} bytes in all"
        )
    try:
        array = np.frombuffer(content, element, offset=start).reshape(shape)
    except ValueError as error:  # no elements, but more dimensions than NumPy has, or larger ones
        raise DataError(f"{path}: its header's shape is not possible ({error})") from error
    return array.astype(element.newbyteorder("="))


def _content(path: Path | Traversable) -> bytes:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    if not raw.startswith(GZIP_MAGIC):
        return raw
    try:
        return gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: damaged gzip file ({error})") from error
