"""How far a 3×3 convolution may be off when Winograd's F(4×4, 3×3) computes it.

A tile of 4×4 outputs is ``Y = Aᵀ[Σ_c (G g Gᵀ) ⊙ (Bᵀ d B)]A``. Multiplied out it is a sum of terms
``Aᵀ·G·g·Gᵀ·Bᵀ·d·B·A``, each entry of a transform being reached in one way only. A term that goes
through n roundings is off by at most ``n · eps / 2`` of itself, to first order, so the error is at
most that share of the terms' absolute values,

    ``W = |Aᵀ| [Σ_c (|G||g||Gᵀ|) ⊙ (|Bᵀ||d||B|)] |A|``,

with n for the longest way. One axis of a transform costs at most (``numba/winograd.py``,
``numba/packing.py``; multiplications by powers of two are exact, those by 1/6 and 1/24 count the
constant's own rounding):

    ======  ======================================  =========
    Bᵀ      multiply-add, multiply-add or subtract  2
    G       add, add, times 1/6 or 1/24             4
    Aᵀ      add, add, add                           3
    A       add, add or multiply-add                2
    Gᵀ      add, times 1/6 or 1/24, add, add        5
    ======  ======================================  =========

Both axes of the forward pass: 2 · (2 + 4 + 3) = 18; the bias 1; a product without a fused
multiply-add 1; and the C additions of the sum: n = C + 20. Backward to the input the same with O.
The weight gradient, ``Gᵀ[Σ_tiles (A y Aᵀ) ⊙ (Bᵀ d B)]G``, has 2 · (2 + 2 + 5) = 18, the product
and one addition for each tile at most: n = T + 19.

Instead of ``n · eps / 2`` the tolerance takes ``4 · eps · sqrt(n)``, as everywhere: up to n = 64 it
is the larger of the two, so proven; beyond, errors that walk at random stay below it.
Unlike the direct sum's, W reaches every output of a tile from every pixel under it. Groups may be
computed as one, whose weights are zero between them: these terms add nothing to W, and no rounding.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from kernels.backends.contract import FloatArray
from kernels.geometry import ConvGeometry

Float64 = NDArray[np.float64]
Limit = tuple[FloatArray, int]
"""Magnitude S and length K for ``kernels.tolerance.bound``."""

TILE, TAPS = 4, 3
SPAN = TILE + TAPS - 1
"""Source pixels under a tile along an axis."""

ROUNDINGS = 20
"""Of the longest way of a term, those of the sum left out."""

LEAST_CHANNELS, LEAST_PIXELS = 2, 64
"""Source channels, and pixels of all images: with fewer, transforms cost more than they save,
and no backend may be so loose."""

VECTOR = 16
"""Float32 of the widest vectors: groups are computed as one only if one has all their targets."""

BT = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    np.float64,
)
G = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24
AT = np.array(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
    np.float64,
)


def for_output(
    direct: Limit,
    x: FloatArray,
    weight: FloatArray,
    bias: FloatArray | None,
    geometry: ConvGeometry,
) -> Limit:
    """Return the limit for y: the direct one, or the larger where Winograd's may be used."""
    terms = geometry.channels // geometry.groups
    if not allowed(geometry, terms, geometry.out_channels):
        return direct
    size = size_of_output(x, weight, geometry)
    if bias is not None:
        size += abs(bias).reshape(-1, 1, 1)
    return _larger(direct, size, terms)


def for_input(
    direct: Limit,
    grad_y: FloatArray,
    weight: FloatArray,
    geometry: ConvGeometry,
    add: FloatArray | None = None,
) -> Limit:
    """Return the limit for x's gradient, to which ``add`` is added; see :func:`for_output`."""
    terms = geometry.out_channels // geometry.groups
    if not allowed(geometry, terms, geometry.channels):
        return direct
    size = size_of_input(grad_y, weight, geometry)
    if add is not None:
        size += abs(add)
    return _larger(direct, size, terms)


def for_weight(direct: Limit, grad_y: FloatArray, x: FloatArray, geometry: ConvGeometry) -> Limit:
    """Return the limit for the weights' gradient; see :func:`for_output`."""
    if geometry.groups > 1 or not allowed(geometry, geometry.channels):
        return direct
    axes = (geometry.height, geometry.width)
    tiles = geometry.batch * math.prod(-(-axis.outputs // TILE) for axis in axes)
    return _larger(direct, size_of_weight(grad_y, x, geometry), tiles)


def allowed(geometry: ConvGeometry, source_channels: int, targets: int = 0) -> bool:
    """Tell whether a backend may compute it by Winograd's algorithm.

    ``source_channels`` are those of a group, ``targets`` those of all groups.
    """
    axes = (geometry.height, geometry.width)
    window = all((axis.kernel, axis.stride, axis.dilation) == (TAPS, 1, 1) for axis in axes)
    pixels = geometry.batch * math.prod(max(axis.size, axis.outputs) for axis in axes)
    enough = source_channels >= LEAST_CHANNELS and pixels >= LEAST_PIXELS
    return window and enough and (geometry.groups == 1 or targets <= VECTOR)


def size_of_output(x: FloatArray, weight: FloatArray, geometry: ConvGeometry) -> Float64:
    """Return W for y, without the bias."""
    height, width = geometry.height, geometry.width
    starts, counts = (-height.before, -width.before), (height.outputs, width.outputs)
    return _gathered(x, _in_one_group(weight, geometry.groups), starts, counts)


def size_of_input(grad_y: FloatArray, weight: FloatArray, geometry: ConvGeometry) -> Float64:
    """Return W for x's gradient: y's convolved by the flipped weights."""
    axes = (geometry.height, geometry.width)
    starts = tuple(axis.before - (TAPS - 1) for axis in axes)
    flipped = _in_one_group(weight, geometry.groups)[:, :, ::-1, ::-1].swapaxes(0, 1)
    return _gathered(grad_y, flipped, starts, tuple(axis.size for axis in axes))


def size_of_weight(grad_y: FloatArray, x: FloatArray, geometry: ConvGeometry) -> Float64:
    """Return W for the weights' gradient: |Gᵀ| [Σ_tiles (|A||y||Aᵀ|) ⊙ (|Bᵀ||d||B|)] |G|."""
    height, width = geometry.height, geometry.width
    counts = (height.outputs, width.outputs)
    sources = _points(BT, _tiles(x, (-height.before, -width.before), counts, SPAN))
    grads = _points(AT.T, _tiles(grad_y, (0, 0), counts, TILE))
    sums = grads.transpose(0, 1, 3, 2) @ sources
    size: Float64 = np.einsum("ijoc,ip,jq->ocpq", sums, abs(G), abs(G), optimize=True)
    return size


def _in_one_group(weight: FloatArray, groups: int) -> FloatArray:
    """Return the weights of all groups, with zeros between them."""
    O, C, KH, KW = weight.shape
    whole = np.zeros((groups, O // groups, groups, C, KH, KW), weight.dtype)
    each = np.arange(groups)
    whole[each, :, each] = weight.reshape(groups, O // groups, C, KH, KW)
    return whole.reshape(O, groups * C, KH, KW)


def _larger(direct: Limit, size: Float64, terms: int) -> Limit:
    """Return a limit whose bound is the larger of the direct one's and Winograd's."""
    magnitude, length = direct
    scaled = size * math.sqrt((terms + ROUNDINGS) / max(1, length))
    return np.maximum(magnitude, scaled).astype(magnitude.dtype), length


def _gathered(
    source: FloatArray, weight: FloatArray, starts: tuple[int, ...], counts: tuple[int, ...]
) -> Float64:
    filters = _points(G, weight)
    sources = _points(BT, _tiles(source, starts, counts, SPAN))
    products = sources @ filters.transpose(0, 1, 3, 2)
    tiles = np.einsum("ijto,pi,qj->topq", products, abs(AT), abs(AT), optimize=True)
    down, across = (-(-count // TILE) for count in counts)
    shape = (len(source), down, across, len(weight), TILE, TILE)
    planes = tiles.reshape(shape).transpose(0, 3, 1, 4, 2, 5)
    whole = planes.reshape(len(source), len(weight), down * TILE, across * TILE)
    cut: Float64 = whole[:, :, : counts[0], : counts[1]]
    return cut


def _points(transform: Float64, tiles: FloatArray) -> Float64:
    """Return ``|T||tile||Tᵀ|`` of (tiles, channels, rows, columns) as [i][j][tile][channel]."""
    values = abs(tiles).astype(np.float64)
    points: Float64 = np.einsum(
        "ip,jq,tcpq->ijtc", abs(transform), abs(transform), values, optimize=True
    )
    return points


def _tiles(
    images: FloatArray, starts: tuple[int, ...], counts: tuple[int, ...], span: int
) -> FloatArray:
    """Cut images, with zeros around, into tiles (tiles, channels, span, span).

    The first tile begins at pixel ``starts``, which may be in front of the image or inside.
    """
    N, C, H, W = images.shape
    down, across = (-(-count // TILE) for count in counts)
    rows, columns = down * TILE + span - TILE, across * TILE + span - TILE
    padded = np.zeros((N, C, rows, columns), images.dtype)
    to, at = zip(
        *(_overlap(*axis) for axis in zip(starts, (H, W), (rows, columns), strict=True)),
        strict=True,
    )
    padded[:, :, to[0], to[1]] = images[:, :, at[0], at[1]]
    windows = np.lib.stride_tricks.sliding_window_view(padded, (span, span), axis=(2, 3))
    tiles = windows[:, :, ::TILE, ::TILE].transpose(0, 2, 3, 1, 4, 5)
    cut: FloatArray = tiles.reshape(N * down * across, C, span, span)
    return cut


def _overlap(start: int, size: int, room: int) -> tuple[slice, slice]:
    """Return where ``room`` pixels from ``start`` on and ``size`` pixels from 0 on overlap."""
    first, last = max(0, start), max(0, start, min(size, start + room))
    return slice(first - start, last - start), slice(first, last)
