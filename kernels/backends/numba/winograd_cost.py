"""When Winograd's algorithm is the faster one: a model in cycles of one core.

``python -m bench.winograd`` measures both algorithms beside the model's figures, ``--grid`` where
the choice changes. The numbers below were fitted to runs of both on 2 threads of a Xeon (Emerald
Rapids); since all tiles may be multiplied together, the model chose the slower algorithm for 1 of
the 66 passes of ``--grid``, by 2 %. Zen 4's numbers, which were here before, chose it for 27 of
102, by up to 96 %. There only a multiplication is taken to cost more now; that was not measured.
"""

from __future__ import annotations

import os

from kernels.backends.numba.cpu import REGISTER_BYTES, codegen_target
from kernels.geometry import ConvGeometry

ENABLED = os.environ.get("CNN_KERNELS_WINOGRAD", "1") != "0"
"""The switch: without it every convolution is computed directly."""

TILE, POINTS, TAPS = 4, 36, 9
"""F(4×4, 3×3): output pixels of a tile along each axis, and products per tile."""

_HALVES = REGISTER_BYTES == 64 and codegen_target()[1] == "znver4"
MULTIPLICATION = 1.0 if _HALVES else 0.5
"""Cycles of a multiplication of two vectors: Zen 4 takes vectors of 64 bytes in two halves. (So do
a few others, which are not known by their names.)"""

SHORT = 0.3
"""What it costs besides in Winograd's products, which are short."""

SOURCE_TILE, TARGET_TILE = 200, 240
"""Cycles to transform a tile of one vector of channels, in the L2 cache. Where that is little to
multiply for, Winograd's algorithm does not pay: 3 channels to 64 at 0.54 of the direct one's speed,
8 to 16 at 0.80, 16 to 16 at 1.17."""

PACKED, FILTERED, UNPACKED = 300, 400, 200
"""Cycles to pack a channel's taps for a vector of target channels, to transform and pack them, and
to put their gradients together."""

PARTIAL = 4
"""Cycles to load, add and store a vector of partial weight gradients in the L2 cache."""

BEYOND, CACHED_BYTES = 17, 7 * 2**20
"""Cycles to move a vector from and to memory beyond the caches, and what these hold of the
transformed weights, which are four times as large as the weights; see ``plan_at_once``."""

LEAST_PIXELS = 64
"""Target pixels in all below which convolutions are computed directly: there is little to gain, and
the cross-check's bounds for so few are the direct algorithm's."""

TASK_TILES = 64
"""Tiles of a task, at most: their transforms have to stay in the L2 cache."""


def fits(geometry: ConvGeometry) -> bool:
    """Tell whether it is a 3×3 convolution of stride and dilation 1 in one group."""
    axes = (geometry.height, geometry.width)
    return geometry.groups == 1 and all(
        (axis.kernel, axis.stride, axis.dilation) == (3, 1, 1) for axis in axes
    )


def gather_cycles(
    images: int, rows: int, columns: int, source_channels: int, target_vectors: int, lanes: int
) -> tuple[float, float]:
    """Estimate the cycles of a gather: directly, and by Winograd's algorithm."""
    products = source_channels * target_vectors
    direct = images * rows * columns * TAPS * MULTIPLICATION + PACKED
    tiles = images * -(-rows // TILE) * -(-columns // TILE)
    passes = 1 + -(-tiles // TASK_TILES)
    each = _of_tiles(tiles, source_channels, target_vectors, lanes)
    return direct * products, each + (FILTERED + passes * POINTS * _beyond(products)) * products


def weight_cycles(
    images: int, rows: int, columns: int, channels: int, target_vectors: int, lanes: int
) -> tuple[float, float]:
    """Estimate the cycles of a weight gradient: directly, and by Winograd's algorithm."""
    products = channels * target_vectors
    direct = images * rows * columns * TAPS * MULTIPLICATION + UNPACKED
    tiles = images * -(-rows // TILE) * -(-columns // TILE)
    passes = 2 + tiles / TASK_TILES
    each = _of_tiles(tiles, channels, target_vectors, lanes)
    return direct * products, each + passes * POINTS * (PARTIAL + _beyond(products)) * products


def gather_cycles_at_once(*sizes: int) -> tuple[float, float]:
    """Estimate the cycles of a gather, the second where all tiles are multiplied together."""
    return gather_cycles(*sizes)[0], _at_once(FILTERED, *sizes)


def weight_cycles_at_once(*sizes: int) -> tuple[float, float]:
    """Estimate the cycles of a weight gradient, likewise."""
    return weight_cycles(*sizes)[0], _at_once(UNPACKED, *sizes)


def _at_once(
    each: int, images: int, rows: int, columns: int, channels: int, target_vectors: int, lanes: int
) -> float:
    """Return the cycles of Winograd's algorithm with ``each`` for a channel's taps for a vector."""
    tiles = images * -(-rows // TILE) * -(-columns // TILE)
    return _of_tiles(tiles, channels, target_vectors, lanes) + each * channels * target_vectors


def _of_tiles(tiles: int, channels: int, target_vectors: int, lanes: int) -> float:
    """Return the cycles to transform tiles and to multiply them."""
    transforms = SOURCE_TILE * -(-channels // lanes) + TARGET_TILE * target_vectors
    return tiles * (POINTS * (MULTIPLICATION + SHORT) * channels * target_vectors + transforms)


def _beyond(products: int) -> float:
    """Return the cycles to move a vector of transformed weights beyond the caches, on average."""
    return BEYOND * max(0.0, 1 - CACHED_BYTES / max(1, POINTS * products * REGISTER_BYTES))
