"""Joins against the naive composition, at the edges of vectors, blocks and windows.

What is read lies on a coarse lattice, so that every backend computes it exactly: maxima, their
positions and the masks must be equal.
"""

from __future__ import annotations

import numpy as np
import pytest

import kernels
from kernels import dispatch, fused
from kernels.lazy import NOWHERE, Read
from tests.kernels.comparing import assert_within, pool_geometry, random

pytestmark = pytest.mark.usefixtures("fast_backend")

CHANNELS = (1, 3, 15, 16, 17, 33, 64)
POOLS = {
    "2x2": dict(kernel=2, stride=2),
    "3x3-overlapping": dict(kernel=3, stride=2, before=1, after=1),
    "dilated": dict(kernel=3, stride=1, dilation=2, before=2, after=1),
    "most-taps": dict(kernel=14, stride=3, before=5, after=9),
}


def lattice(seed, dtype, *shape):
    """Multiples of a half from -2 to 2: sums and products of a few are exact, ties are common."""
    return (np.random.default_rng(seed).integers(-4, 5, shape) / 2).astype(dtype)


def make_reads(shape, dtype, count=1):
    C = shape[1]
    reads = []
    for seed in range(count):
        x = lattice(10 * seed, dtype, *shape)
        numbers = (lattice(10 * seed + part, dtype, C) for part in (1, 2, 3))
        reads.append(Read(x, *numbers) if seed % 2 == 0 else Read(x))
    return tuple(reads)


def forward(reads, relu, pool, backend=None, planes=False):
    empty = np.empty if planes else dispatch.resolve(backend).empty
    x = reads[0].x
    out = empty(x.shape if pool is None else pool.y_shape, x.dtype)
    position = None if pool is None else empty(pool.y_shape, np.dtype(np.uint8))
    fused.join_forward(reads, relu, pool, out=out, position=position, backend=backend)
    return out, position


def backward(grad_y, y, position, reads, relu, pool, backend=None):
    out = dispatch.resolve(backend).empty(y.shape, y.dtype) if relu and pool is None else None
    sums = fused.join_backward(grad_y, position, y, reads, relu, pool, out=out, backend=backend)
    return out, sums


def assert_same_gradients(reads, relu, pool, y, position):
    x = reads[0].x
    (grad_y,) = random(5, x.dtype.name, y.shape)
    got, all_sums = backward(grad_y, y, position, reads, relu, pool)
    wanted, all_wanted = backward(grad_y, y, position, reads, relu, pool, "naive")
    absolute = tuple(
        Read(abs(r.x - r.mean.reshape(1, -1, *[1] * (x.ndim - 2))), 0 * r.mean, r.scale, r.shift)
        if r.mean is not None
        else r
        for r in reads
    )
    ones = np.ones_like(y)
    _, sizes = backward(abs(grad_y), ones, position, absolute, relu, pool, "naive")
    if got is not None:
        np.testing.assert_array_equal(got, wanted)
    for sums, wanted_sums, size in zip(all_sums, all_wanted, sizes, strict=True):
        assert (sums is None) == (wanted_sums is None)
        if sums is not None:
            for part, wanted_part, limit in zip(sums, wanted_sums, size, strict=True):
                assert part.dtype == np.float64
                limit = np.asarray(limit).astype(x.dtype)
                assert_within(part, wanted_part, limit, x.size // x.shape[1] + 2)


@pytest.mark.parametrize("C", CHANNELS)
@pytest.mark.parametrize("window", POOLS.values(), ids=list(POOLS))
@pytest.mark.parametrize("relu", [False, True], ids=["", "relu"])
def test_pooled(C, window, relu, dtype):
    shape = (2, C, 9, 11)
    pool = pool_geometry(*shape, **window)
    reads = make_reads(shape, dtype)
    y, position = forward(reads, relu, pool)
    wanted_y, wanted_position = forward(reads, relu, pool, "naive")
    np.testing.assert_array_equal(y, wanted_y)
    np.testing.assert_array_equal(position, wanted_position)
    assert (position == NOWHERE).any() == (relu and (wanted_y == 0).any())
    assert_same_gradients(reads, relu, pool, y, position)


@pytest.mark.parametrize("C", CHANNELS)
@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("relu", [False, True], ids=["", "relu"])
def test_not_pooled(C, count, relu, dtype):
    reads = make_reads((3, C, 5, 7), dtype, count)
    y, _ = forward(reads, relu, None)
    np.testing.assert_array_equal(y, forward(reads, relu, None, "naive")[0])
    assert_same_gradients(reads, relu, None, y, None)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_pooled_sum_of_several(count):
    pool = pool_geometry(2, 32, 8, 8, **POOLS["3x3-overlapping"])
    reads = make_reads((2, 32, 8, 8), "float32", count)
    for got, wanted in zip(
        forward(reads, True, pool), forward(reads, True, pool, "naive"), strict=True
    ):
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("C", [3, 32])
def test_nan_and_infinity_stay_visible(C):
    shape = (2, C, 8, 8)
    x = lattice(0, "float32", *shape)
    x[x == 2] = np.nan
    x[x == -2] = -np.inf
    pool = pool_geometry(*shape, **POOLS["3x3-overlapping"])
    for geometry in (pool, None):
        reads = (Read(x),)
        y, position = forward(reads, True, geometry)
        wanted_y, wanted_position = forward(reads, True, geometry, "naive")
        assert np.isnan(y).any()
        np.testing.assert_array_equal(y, wanted_y)
        if geometry is not None:
            np.testing.assert_array_equal(position, wanted_position)


@pytest.mark.parametrize("C", [3, 16])
def test_an_empty_batch_gives_zero_sums(C):
    shape = (0, C, 6, 6)
    reads = make_reads(shape, "float32")
    for pool in (pool_geometry(*shape, **POOLS["2x2"]), None):
        y, position = forward(reads, True, pool)
        _, (sums,) = backward(np.empty_like(y), y, position, reads, True, pool)
        assert y.size == 0
        np.testing.assert_array_equal(sums, np.zeros((2, C)))


def test_rows_without_a_plane():
    reads = make_reads((33, 10), "float32", 2)
    y, _ = forward(reads, True, None)
    np.testing.assert_array_equal(y, forward(reads, True, None, "naive")[0])
    assert_same_gradients(reads, True, None, y, None)


@pytest.mark.parametrize("C", [3, 32])
def test_any_layout_of_memory(C):
    """Large enough for planes to be turned over by squares of vectors, with some left."""
    shape = (2, C, 30, 46)
    pool = pool_geometry(*shape, **POOLS["2x2"])
    (read,) = make_reads(shape, "float32")
    wide = np.full((2, C, 30, 92), np.nan, "float32")
    wide[..., ::-2] = read.x
    views = np.asfortranarray(read.x), wide[..., ::-2], np.ascontiguousarray(read.x)
    wanted = forward((read,), True, pool, "naive")
    for x in views:
        for planes in (False, True):
            reads = (read._replace(x=x),)
            y, position = forward(reads, True, pool, planes=planes)
            np.testing.assert_array_equal(y, wanted[0])
            np.testing.assert_array_equal(position, wanted[1])
            assert_same_gradients(reads, True, pool, y, position)


def test_without_positions_nothing_but_values_is_written():
    pool = pool_geometry(2, 16, 6, 6, **POOLS["2x2"])
    reads = make_reads((2, 16, 6, 6), "float32")
    y = np.empty(pool.y_shape, "float32")
    fused.join_forward(reads, True, pool, out=y, position=None)
    np.testing.assert_array_equal(y, forward(reads, True, pool)[0])


@pytest.mark.parametrize("C", [1, 3, 16, 40])
@pytest.mark.parametrize("side", [5, 22, 60])
@pytest.mark.parametrize("count", [1, 2])
def test_planes_are_turned_over_on_the_way(C, side, count, dtype):
    """Forward and back: bands with pixels and channels that fill no square, and do."""
    shape = (3, C, side, side + 2)
    reads = make_reads(shape, dtype, count)
    y, _ = forward(reads, True, None, planes=True)
    np.testing.assert_array_equal(y, forward(reads, True, None)[0])
    assert y.flags.c_contiguous
    assert_same_gradients(reads, True, None, y, None)


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 3, 0, 4), (2, 3, 4, 0)])
def test_nothing_in_planes(shape):
    (read,) = make_reads(shape, "float32")
    y, _ = forward((read,), True, None, planes=True)
    masked, (sums,) = backward(y, y, None, (read,), True, None)
    assert y.shape == masked.shape == shape
    np.testing.assert_array_equal(sums, np.zeros((2, 3)))


@pytest.mark.parametrize("pooled", [False, True], ids=["", "pooled"])
def test_the_same_bits_with_any_number_of_threads(pooled, monkeypatch):
    shape = (9, 20, 28, 28)
    x, grad = random(0, "float32", shape, shape)
    reads = (Read(x, *random(1, "float32", *[(20,)] * 3)),)
    pool = pool_geometry(*shape, **POOLS["2x2"]) if pooled else None
    results = []
    for threads in (1, kernels.get_num_threads()):
        monkeypatch.setattr("kernels.threads._limit", threads)
        y, position = forward(reads, True, pool)
        _, (sums,) = backward(grad[tuple(map(slice, y.shape))], y, position, reads, True, pool)
        results.append([part.tobytes() for part in (y, *sums)])
    assert results[0] == results[1]
