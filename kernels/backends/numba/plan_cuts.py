"""How a gather is cut into tasks: images together and bands of rows, by what caches hold."""

from __future__ import annotations

from kernels.backends.numba.axes import Gather
from kernels.backends.numba.micro_kernel import PANEL_VECTORS
from kernels.backends.numba.plan_tables import IN_PLACE
from kernels.backends.numba.points import apart
from kernels.backends.numba.winograd_cost import POINTS, TASK_TILES, TILE

SCRATCH_BYTES = 256 * 1024
"""What a direct task's source rows may take, in float32: they have to stay in the L2 cache."""

LEAST_PIXELS, MOST_SCRATCH_BYTES = 160, 512 * 1024
"""With fewer target pixels a task does too little with each weight that it fetches, or adds too
little to each sum of a weight gradient, which it loads and stores; then it may take more. 8 images
of 7×7, 512 channels, on 2 threads of a Xeon (Emerald Rapids): 49 pixels, now 98, 0.90 of the time;
8 of 14×14, 256 to 512 of stride 2, likewise 0.91. The weight gradient of these, on 2 threads of
Zen 5: 49 pixels, now 147, 0.87. But where there were 168, 1.03, and 512, 1.04."""

MOST_PIXELS = 4096
"""Target pixels of a direct task: the table of their places has 16 bytes for each."""

LEAST_TILES = 16
"""Tiles of a Winograd task below which its products would be too short: a register tile has 14
rows. With 8, single images of 14×14 to 28×28 took up to a quarter longer."""

DIRECT_SHARES = 4
"""Parts of the target channels that make tasks before images are cut into bands."""

LEAST_TASKS = 16
"""Tasks are made smaller until there are so many, so that small batches use all cores."""


def direct_cut(
    images: int, rows: Gather, columns: Gather, pixel: int, beside: int, lanes: int, shares: int
) -> dict[str, int]:
    """Cut images into bands whose scratch fits the cache: a multiple of the step.

    Several small images go together, as long as there are enough tasks: with those that come of
    ``shares`` parts of the channels. ``beside`` are the elements per target pixel that have to stay
    in the cache as well, those of the gradient where there is one.
    """
    for most in (SCRATCH_BYTES, MOST_SCRATCH_BYTES):
        cut = _cut_to_size(images, rows, columns, pixel, beside, lanes, shares, most)
        if cut["chunk"] * cut["band_rows"] * columns.target_size >= LEAST_PIXELS:
            break
    return cut


def _cut_to_size(
    images: int, rows: Gather, columns: Gather, pixel: int, beside: int, lanes: int, shares: int,
    most: int,
) -> dict[str, int]:  # fmt: skip
    """Cut images into bands whose scratch takes up to so many bytes, in float32."""
    width = columns.scratch(columns.target_size)
    across = sum(columns.count(phase, columns.target_size) for phase in columns.phases)
    whole = max(1, -(-rows.target_size // rows.target_step))
    least = -(-LEAST_TASKS // shares)
    steps = max(1, -(-whole // -(-least // max(1, images))))

    def fit(steps: int) -> int:
        targets = steps * rows.target_step * across
        held = rows.scratch(steps * rows.target_step) * width * pixel + targets * beside
        return min(most // max(1, 4 * held), MOST_PIXELS // max(1, targets))

    while steps > 1 and not fit(steps):
        steps -= 1
    steps = -(-whole // -(-whole // steps))  # bands as even as can be
    band_rows = steps * rows.target_step
    bands = -(-rows.target_size // band_rows)
    chunk = max(1, min(fit(steps), images // least)) if bands == 1 else 1
    scratch_rows = rows.scratch(band_rows)
    size = scratch_rows * width * pixel
    return {
        "chunk": chunk,
        "band_rows": band_rows,
        "bands": bands,
        "scratch_rows": scratch_rows,
        "scratch_columns": width,
        "inner_place": chunk * size,
        "work": chunk * size + 2 * lanes,
    }


def in_place(
    cut: dict[str, int], rows: Gather, columns: Gather, pixel: int, lanes: int
) -> dict[str, int]:
    """Return a cut whose scratch buffer is laid out as the source, which is read instead.

    Without the copy, 64 channels of 8 images of 56×56 to 128 through 1×1 of stride 2, on 2 threads:
    0.60 ms, now 0.51; 16 of 7×56 to 16 through 1×1 0.043, now 0.037. Not where pixels are put
    further apart: 1024 channels to 256, read in place, 5.7 ms instead of 4.1; 256 to 64 the same.
    """
    scratch_rows = rows.source_size if cut["bands"] == 1 else cut["scratch_rows"]
    size = cut["chunk"] * scratch_rows * columns.source_size * pixel
    return cut | {
        "in_place": IN_PLACE,
        "scratch_rows": scratch_rows,
        "scratch_columns": columns.source_size,
        "inner_place": size,
        "work": size + 2 * lanes,
    }


def winograd_cut(
    images: int, rows: Gather, columns: Gather, pixel: int, lanes: int, shares: int
) -> dict[str, int]:
    """Cut into whole rows of tiles, as many as make enough tasks; small images go together.

    Each task may still be cut into ``shares`` parts of the target's channels.
    """
    across, down = -(-columns.target_size // TILE), -(-rows.target_size // TILE)
    most = TASK_TILES
    chunk, tile_rows = _tiles_together(images, down, across, most)
    while most > LEAST_TILES and (
        -(-images // chunk) * -(-down // tile_rows) * shares < LEAST_TASKS
    ):
        most //= 2
        chunk, tile_rows = _tiles_together(images, down, across, most)
    bands = -(-down // tile_rows)
    tiles = chunk * tile_rows * across
    scratch_rows, scratch_columns = TILE * tile_rows + 2, TILE * across + 2
    source = chunk * scratch_rows * scratch_columns * pixel
    transformed = POINTS * apart(tiles * pixel, lanes)
    products = POINTS * apart(tiles * PANEL_VECTORS * lanes, lanes)
    return {
        "chunk": chunk,
        "band_rows": TILE * tile_rows,
        "bands": bands,
        "scratch_rows": scratch_rows,
        "scratch_columns": scratch_columns,
        "tiles_down": tile_rows,
        "tiles_across": across,
        "scratch_place": transformed + lanes,
        "products_place": transformed + source + 2 * lanes,
        "inner_place": transformed + source + products + 3 * lanes,
        "work": transformed + source + products + (POINTS + 8) * lanes,
    }


def _tiles_together(images: int, down: int, across: int, most: int) -> tuple[int, int]:
    """Return images and rows of tiles for a task of at most ``most`` tiles, or one row of them."""
    if down * across <= most:
        return max(1, min(images, most // (down * across))), down
    tile_rows = max(1, min(down, most // across))
    return 1, -(-down // -(-down // tile_rows))
