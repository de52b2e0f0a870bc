"""Images read at shifted or turned positions, interpolated linearly.

What lies outside repeats the edge. Images are taken in blocks, which bounds the memory.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from cnn.arrays import FloatArray

Float64Array = NDArray[np.float64]

BLOCK_PIXELS = 25_000
"""Of a channel: 32 images of 28×28. In a fresh process, whose memory goes back to the system each
time, turning 128 such images took 10 µs each in these blocks and 19 all at once; where memory
stays, as in a training, 5.8 µs (shifting 3.1). SciPy's affine_transform took 34 to 58 an image.
"""


def shifted(x: FloatArray, shifts: Float64Array) -> FloatArray:
    """Return images moved by parts of pixels: rows are interpolated, then columns.

    ``y[n, :, i, j] = x[n, :, i - shifts[n, 0], j - shifts[n, 1]]``

    Parameters
    ----------
    x : (N, C, H, W) array of float32 or float64
        Images.
    shifts : (N, 2) array of float64
        Pixels that each moves down and to the right.

    Returns
    -------
    (N, C, H, W) array
        A new one, of the dtype and memory layout of ``x``.
    """
    N, _, H, W = x.shape
    shifts = np.clip(shifts, (-H, -W), (H, W))  # further off, all is edge
    whole = np.floor(-shifts).astype(int)
    parts = (-shifts - whole).astype(x.dtype)[:, :, np.newaxis, np.newaxis, np.newaxis]
    margin = int(np.ceil(abs(shifts)).max(initial=0))
    around = (margin, margin + 1)
    padded = np.pad(x, ((0, 0), (0, 0), around, around), mode="edge")
    windows = sliding_window_view(padded, (H + 1, W + 1), axis=(2, 3))
    first = whole + margin
    moved = np.empty_like(x)
    for block in _blocks(x.shape):
        read = windows[np.arange(N)[block], :, first[block, 0], first[block, 1]]
        read = _between(read[:, :, :-1], read[:, :, 1:], parts[block, 0])
        _between(read[..., :-1], read[..., 1:], parts[block, 1], out=moved[block])
    return moved


def turned(x: FloatArray, angles: Float64Array, shifts: Float64Array) -> FloatArray:
    """Return images turned around their middle, then moved.

    ``y[n, :, i, j] = x[n, :, r, s]`` with i, j, r and s counted from the middle,
    ``r = cos · (i - shifts[n, 0]) + sin · (j - shifts[n, 1])`` and
    ``s = cos · (j - shifts[n, 1]) - sin · (i - shifts[n, 0])``.

    Parameters
    ----------
    x, shifts
        As for :func:`shifted`.
    angles : (N,) array of float64
        In radians.

    Returns
    -------
    (N, C, H, W) array
        A new one, of the dtype and memory layout of ``x``.
    """
    H, W = x.shape[2:]
    moved = np.empty_like(x)
    cos, sin = np.cos(angles)[:, np.newaxis], np.sin(angles)[:, np.newaxis]
    down = np.arange(H) - (H - 1) / 2 - shifts[:, :1]
    right = np.arange(W) - (W - 1) / 2 - shifts[:, 1:]
    rows = _sums(cos * down + (H - 1) / 2, sin * right, x.dtype)
    columns = _sums(-sin * down + (W - 1) / 2, cos * right, x.dtype)
    below, beside = W * (H > 1), int(W > 1)
    for block in _blocks(x.shape):
        images = x[block]
        row, row_part = _split(rows[0][block] + rows[1][block], H)
        column, column_part = _split(columns[0][block] + columns[1][block], W)
        row *= W
        row += column
        pixels = (_planes(images.shape) + row[:, np.newaxis]).astype(np.intp)
        flat = images.reshape(-1)
        upper, lower = (
            _between(flat[k:].take(pixels), flat[k + beside :].take(pixels), column_part)
            for k in (0, below)
        )
        _between(upper, lower, row_part, out=moved[block])
    return moved


def _blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    N, _, H, W = shape
    images = max(1, BLOCK_PIXELS // max(1, H * W))
    return (slice(start, start + images) for start in range(0, N, images))


def _sums(
    along_rows: Float64Array, along_columns: Float64Array, dtype: np.dtype[np.floating]
) -> tuple[FloatArray, FloatArray]:
    """Return (N, H) and (N, W) arrays that broadcast to (N, H, W)."""
    return (
        along_rows.astype(dtype)[:, :, np.newaxis],
        along_columns.astype(dtype)[:, np.newaxis, :],
    )


def _split(position: FloatArray, size: int) -> tuple[NDArray[np.int32], FloatArray]:
    """Split positions on an axis into the pixel before and the way from there to the next one.

    Positions are changed. The conversion by way of int32 is vectorised, that to int64 is not.
    """
    np.clip(position, 0, size - 1, out=position)
    pixel = position.astype(np.int32)
    np.minimum(pixel, max(size - 2, 0), out=pixel)  # the last pixel is the end of a way, too
    position -= pixel.astype(position.dtype)
    return pixel, position[:, np.newaxis]


def _planes(shape: tuple[int, ...]) -> NDArray[np.int32]:
    """Return where the planes (N, C, 1, 1) of images begin."""
    N, C, H, W = shape
    return np.arange(N * C, dtype=np.int32).reshape(N, C, 1, 1) * np.int32(H * W)


def _between(
    start: FloatArray, end: FloatArray, share: FloatArray, out: FloatArray | None = None
) -> FloatArray:
    result: FloatArray = np.subtract(end, start, out=out)
    result *= share
    result += start
    return result
