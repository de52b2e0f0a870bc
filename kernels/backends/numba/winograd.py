"""Winograd's F(4×4, 3×3): 36 products for 16 pixels instead of 144.

``Y = Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A`` with tiles of 6×6 source and 4×4 target pixels: Lavin & Gray,
"Fast algorithms for convolutional neural networks" (arXiv:1509.09308), with the interpolation
points 0, ±1, ±2 and ∞. Over channels and tiles each of the 36 points is a matrix product. The
weight gradient is its transpose: ``Gᵀ[Σ (A y Aᵀ) ⊙ (Bᵀ d B)]G``.

The transforms here work on vectors of channels, first down the columns of a tile, then along its
rows; between the two, a tile's values are in a small buffer that stays in the L1 cache.
"""

from __future__ import annotations

from kernels.backends.numba.jit import serial
from kernels.backends.numba.micro_kernel import ADJACENT, ROWS, SUMS, TERMS, ZEROS, multiply_panel
from kernels.backends.numba.points import points_apart
from kernels.backends.numba.vector import (
    add,
    constant,
    lanes,
    load_first,
    load_rows,
    load_rows_first,
    multiply_add,
    store_each,
    store_first,
    subtract,
)


@serial
def _plus_scaled(y, factor, x):
    """``y + factor · x``."""
    return multiply_add(constant(x, factor), x, y)


@serial
def _bt(d):
    """Bᵀ d: of source pixels."""
    d0, d1, d2, d3, d4, d5 = d
    even, odd = _plus_scaled(d4, -4.0, d2), _plus_scaled(d3, -4.0, d1)
    far, near = subtract(d4, d2), subtract(d3, d1)
    return (
        _plus_scaled(_plus_scaled(d4, 4.0, d0), -5.0, d2),
        add(even, odd),
        subtract(even, odd),
        _plus_scaled(far, 2.0, near),
        _plus_scaled(far, -2.0, near),
        _plus_scaled(_plus_scaled(d5, 4.0, d1), -5.0, d3),
    )


@serial
def _at(m):
    """Aᵀ m: of products."""
    m0, m1, m2, m3, m4, m5 = m
    sum_1, difference_1 = add(m1, m2), subtract(m1, m2)
    sum_2, difference_2 = add(m3, m4), subtract(m3, m4)
    return (
        add(m0, add(sum_1, sum_2)),
        _plus_scaled(difference_1, 2.0, difference_2),
        _plus_scaled(sum_1, 4.0, sum_2),
        add(m5, _plus_scaled(difference_1, 8.0, difference_2)),
    )


@serial
def _a(y):
    """A y: of target pixels' gradients."""
    y0, y1, y2, y3 = y
    even, odd = add(y0, y2), add(y1, y3)
    far, near = _plus_scaled(y0, 4.0, y2), _plus_scaled(y1, 4.0, y3)
    return (
        y0,
        add(even, odd),
        subtract(even, odd),
        _plus_scaled(far, 2.0, near),
        _plus_scaled(far, -2.0, near),
        y3,
    )


@serial
def _source_tile(work, place, row, pixel, valid, inner, points, to, step):
    """Store Bᵀ d B of a 6×6 tile; its pixels are ``row`` and ``pixel`` apart, its points step."""
    width = lanes(work)
    for j in range(6):
        column = _bt(load_rows_first(work, place + j * pixel, row, 5, valid, 6))
        store_each(column, work, inner + j * width, 6 * width, width)
    for i in range(6):
        along = _bt(load_rows(work, inner + 6 * width * i, width, 5, 6))
        store_each(along, points, to + 6 * step * i, step, valid)


@serial
def _gradient_tile(work, place, row, pixel, valid, inner, points, to, step):
    """Store A y Aᵀ of a 4×4 tile; its pixels are ``row`` and ``pixel`` apart, its points step."""
    width = lanes(work)
    for j in range(4):
        column = _a(load_rows_first(work, place + j * pixel, row, 3, valid, 4))
        store_each(column, work, inner + j * width, 6 * width, width)
    for i in range(6):
        along = _a(load_rows(work, inner + 6 * width * i, width, 3, 4))
        store_each(along, points, to + 6 * step * i, step, width)


@serial
def _target_tile(work, place, step, inner, target, to, row, pixel, rows, columns, base, valid):
    """Store Aᵀ m A plus ``base``: the first ``rows`` × ``columns`` pixels of a 4×4 tile."""
    width = lanes(work)
    for j in range(6):
        column = _at(load_rows(work, place + j * step, 6 * step, 5, 6))
        store_each(column, work, inner + j * width, 6 * width, width)
    for i in range(rows):
        pixels = _at(load_rows(work, inner + 6 * width * i, width, 5, 6))
        put = to + i * row
        store_first(target, put, add(base, pixels[0]), valid)
        if columns > 1:
            store_first(target, put + pixel, add(base, pixels[1]), valid)
        if columns > 2:
            store_first(target, put + 2 * pixel, add(base, pixels[2]), valid)
        if columns > 3:
            store_first(target, put + 3 * pixel, add(base, pixels[3]), valid)


@serial
def all_tiles(s):
    """Return how many tiles all images have."""
    return s.images * -(-s.target_rows // 4) * s.tiles_across


@serial
def tiles_of_band(task, s):
    """Return the number of the first tile of a band of an image, and how many it has."""
    down, band = -(-s.target_rows // 4), task % s.bands * s.tiles_down
    first = (task // s.bands * down + band) * s.tiles_across
    return first, min(s.tiles_down, down - band) * s.tiles_across


@serial
def transform_sources(work, count, C, points, first, tiles, s):
    """Transform so many of the scratch buffer's tiles to ``points``, [point][tile][channel].

    They are the ``first`` and the next of all ``tiles``, which are ``s.pixel`` apart, too.
    """
    width = lanes(work)
    apart = points_apart(tiles * s.pixel, width)
    for tile in range(count):
        across = tile % s.tiles_across
        down = tile // s.tiles_across % s.tiles_down
        image = tile // (s.tiles_across * s.tiles_down)
        pixel = (image * s.scratch_rows + 4 * down) * s.scratch_columns + 4 * across
        for c in range(0, C, width):
            _source_tile(
                work, s.scratch_place + pixel * s.pixel + c, s.scratch_columns * s.pixel, s.pixel,
                min(width, C - c), s.inner_place, points, (first + tile) * s.pixel + c, apart,
            )  # fmt: skip


@serial
def convolve_winograd(
    target, rows, images, work, weights, start, ahead, panel_from, panel_to, table, s
):
    """Write ``rows`` target rows of so many images.

    The tiles' sources are in ``work``, by ``transform_sources``; ``weights`` are
    [panel][point][source channel][panel's channels]. ``table`` is one segment, then the tiles; each
    product fetches its part of what is ``ahead``.
    """
    C, width = s.source_channels, lanes(work)
    tiles = images * s.tiles_down * s.tiles_across
    sources_apart = points_apart(tiles * s.pixel, width)
    products_apart = points_apart(tiles * s.panel, width)
    weights_apart = points_apart(C * s.panel, width)
    later, line, end, step = ahead
    for panel in range(panel_from, panel_to):
        V = min(s.panel, s.out_group - panel * s.panel)
        columns = -(-V // width) * width
        for point in range(36):
            products = s.products_place + point * products_apart
            multiply_panel(
                work, start, work, weights, later, table, 1, tiles, columns, TERMS * s.paired,
                line, min(end, line + step), ZEROS, products, 0, point * sources_apart, 1,
                (panel * 36 + point) * weights_apart, s.panel, 0, 1,
            )  # fmt: skip
            line += step
        transform_products(target, rows, tiles, work, start, panel * s.panel, V, s)


@serial
def transform_products(target, rows, tiles, work, start, c, V, s):
    """Transform a panel's products, a pixel's vectors side by side, as they lie in memory."""
    width, channels = lanes(work), s.target_channels
    apart = points_apart(tiles * s.panel, width)
    for tile in range(tiles):
        across = tile % s.tiles_across
        down = tile // s.tiles_across % s.tiles_down
        image = tile // (s.tiles_across * s.tiles_down)
        row = image * s.target_rows + 4 * down
        pixel = row * s.target_columns + 4 * across
        for v in range(0, V, width):
            valid = min(width, V - v)
            _target_tile(
                work, s.products_place + tile * s.panel + v, apart, s.inner_place,
                target, pixel * channels + c + v, s.target_columns * channels, channels,
                min(4, rows - 4 * down), min(4, s.target_columns - 4 * across),
                load_first(start, c + v, valid), valid,
            )  # fmt: skip


@serial
def accumulate_winograd(sums, add, c_from, c_to, images, work, ahead, table, s, g):
    """Add some channels' products to the sums of each point, [point][channel][row], or begin them.

    The sources' tiles are in ``work``, by ``transform_sources``, and so are the gradients, as ``g``
    says. ``table`` begins with a segment of each number of tiles.
    """
    tiles = images * s.tiles_down * s.tiles_across
    later, line, end, step = ahead
    sources_apart = points_apart(tiles * s.pixel, lanes(work))
    products_apart = points_apart(tiles * s.panel, lanes(work))
    sums_apart = points_apart(s.source_channels * s.row, lanes(work))
    for v in range(0, s.out_group, s.panel):
        transform_gradients(work, tiles, v, work, s.products_place, 0, tiles, s, g)
        V = min(s.panel, s.row - v)
        for point in range(36):
            c = point * sums_apart + c_from * s.row + v
            multiply_panel(
                sums, sums, work, work, later, table, s.first_term, c_to - c_from,
                V, ADJACENT if lanes(work) < V else ROWS * s.paired, line, min(end, line + step),
                SUMS if add else ZEROS, c, 0, point * sources_apart, s.pixel,
                s.products_place + point * products_apart, s.panel, tiles, tiles + 1,
            )  # fmt: skip
            line += step


@serial
def transform_gradients(work, count, v, points, place, first, tiles, s, g):
    """Transform a panel of the gradients, from channel ``v`` on, to [point][tile][channel].

    See ``transform_sources``; the points begin at ``place``.
    """
    O, width = s.target_channels, lanes(work)
    apart = points_apart(tiles * s.panel, width)
    for tile in range(count):
        across = tile % s.tiles_across
        down = tile // s.tiles_across % s.tiles_down
        image = tile // (s.tiles_across * s.tiles_down)
        pixel = (image * g.scratch_rows + 4 * down) * g.scratch_columns + 4 * across
        for c in range(v, min(v + s.panel, O), width):
            _gradient_tile(
                work, g.scratch_place + pixel * g.pixel + c, g.scratch_columns * g.pixel, g.pixel,
                min(width, O - c), s.inner_place,
                points, place + (first + tile) * s.panel + c - v, apart,
            )  # fmt: skip
