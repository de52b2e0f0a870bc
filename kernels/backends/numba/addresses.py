"""Where arrays are in memory: each small call asks several times, so in the quickest way."""

from __future__ import annotations

import ctypes
from typing import Any

from numpy.typing import NDArray

_address_of, _char_in = ctypes.addressof, ctypes.c_char.from_buffer


def address_in(array: NDArray[Any]) -> int:
    """Return where a writeable array without gaps begins: 0.3 µs, ``array.ctypes.data`` 1.0."""
    return _address_of(_char_in(array))  # type: ignore[arg-type]  # any buffer will do


def address_of(array: NDArray[Any]) -> int:
    """Return where an array is, 0 if there is nothing in it."""
    if array.size == 0:
        return 0
    try:
        return address_in(array)
    except (TypeError, ValueError, BufferError):  # read-only, or with gaps
        return int(array.ctypes.data)
