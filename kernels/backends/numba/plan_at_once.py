"""Plans of Winograd's algorithm where all tiles of all images are multiplied together.

Then each weight is transformed when it is needed, and each sum of a weight gradient is complete
before it leaves the cache: see ``gathering_at_once`` and ``accumulating_at_once``. Otherwise both
take four times the weights' memory, which is beyond the caches where there are many channels.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from kernels.backends.numba import winograd_cost
from kernels.backends.numba.packing import PACK_CHANNELS, block_size
from kernels.backends.numba.plan import (
    Gathering,
    Model,
    Plan,
    cycles_of,
    is_winograd,
    plan_gathering,
)
from kernels.backends.numba.plan_tables import SHAPE, records
from kernels.backends.numba.plan_terms import pairs, steps
from kernels.backends.numba.plan_weight_rows import pairing
from kernels.backends.numba.plan_weights import WeightPlan, place_gradients
from kernels.backends.numba.points import apart
from kernels.backends.numba.winograd_cost import POINTS, TAPS, TILE
from kernels.geometry import ConvGeometry

MOST_TILES, TILE_PRODUCTS, LEAST_PRODUCTS = 128, 512, 2**15
"""Tiles up to which, pairs of channels for each tile, and in all, from which on this is done.

Of the time, forward, backward to the input and to the weights, on 2 threads of a Xeon (Emerald
Rapids): 8 images of 512×7×7 0.55, 0.51, 0.51; of 512×4×4 0.48, 0.48, 0.51; of 256×14×14 0.79, 0.78,
0.93; one of 256×8×8 0.66, 0.67, 0.87; 2 of 512×7×7 to 128 channels 0.74, 0.63, 0.95. But of 98
tiles of 128 channels 1.07, 1.05, 1.28, of 512 of 512 channels 0.93, 0.90, 1.21. 128 channels of 16
tiles, 0.90, 0.86, 0.92, could be let in; below 14,500 pairs replays keep packed weights."""

GATHERED_CHANNELS, ACCUMULATED_VECTORS = 128, 2
"""Source channels whose weights a task transforms together, 576 KiB in float32; and vectors of
those whose sums it takes, 144 KiB. The same 8 images of 512×7×7 forward with 32, 64, 256 and 512
channels 1.23, 1.13, 1.06 and 1.10; one image of 512×14×14 to the weights with 1, 3 and 4 vectors
1.28, 0.99 and 0.93, 8 of 256×7×7 1.08, 1.04 and 1.01: tasks are few as it is."""

Direction = Callable[[ConvGeometry, int], Gathering]


def forward_plan(geometry: ConvGeometry, lanes: int) -> Plan | None:
    """Plan the gathering of y from x, if it is to be done so."""
    return _gathering(Gathering.forward, geometry, lanes)


def backward_plan(geometry: ConvGeometry, lanes: int) -> Plan | None:
    """Plan the gathering of x's gradient from y's, if it is to be done so."""
    return _gathering(Gathering.backward, geometry, lanes)


@functools.lru_cache(maxsize=512)
def weight_plan(geometry: ConvGeometry, lanes: int) -> WeightPlan | None:
    """Plan the weight gradient, if it is to be done so."""
    of_image = _of_image(Gathering.forward(geometry, lanes), winograd_cost.weight_cycles_at_once)
    if of_image is None:
        return None
    shape = np.zeros(2, SHAPE)
    shape[0] = of_image.shape[0]
    s, C = shape[0], geometry.channels
    s["images"], channels = geometry.batch, min(C, ACCUMULATED_VECTORS * lanes)
    s["part_channels"], s["row"] = channels, -(-geometry.out_channels // lanes) * lanes
    place_gradients(s, shape[1], lanes)
    s["paired"], s["unused"] = pairing(s, geometry, lanes)
    tiles, panel = _tiles(s), int(s["panel"])
    segments = steps(tiles + 1, 0, 1)
    s["first_term"] = len(segments)
    size = apart(tiles * int(s["pixel"]), lanes) + int(s["panels"]) * apart(tiles * panel, lanes)
    work = POINTS * apart(channels * panel, lanes) + (TAPS * PACK_CHANNELS + POINTS) * lanes
    return WeightPlan(
        records(shape),
        pairs(segments, steps(channels, 1, panel)),
        parts=1,
        groups=0,
        tasks=-(-C // channels),
        blocks=0,
        size=POINTS * size,
        work=max(int(s["work"]), work),
        cycles=of_image.cycles,
        transforms=geometry.batch * int(s["bands"]),
    )


@functools.lru_cache(maxsize=512)
def _gathering(direction: Direction, geometry: ConvGeometry, lanes: int) -> Plan | None:
    of_image = _of_image(direction(geometry, lanes), winograd_cost.gather_cycles_at_once)
    if of_image is None:
        return None
    shape = np.repeat(of_image.shape, 2)
    shape["images"] = geometry.batch
    s, bands = shape[0], int(shape["bands"][0])
    tiles, panel, C = _tiles(s), int(s["panel"]), int(s["source_channels"])
    channels = min(C, GATHERED_CHANNELS)
    s["chunk"], s["bands"], s["tiles_down"] = geometry.batch, 1, -(-int(s["target_rows"]) // TILE)
    s["band_rows"], s["part_panels"], s["parts"] = s["target_rows"], 1, s["panels"]
    s["part_channels"], s["inner_place"] = channels, POINTS * apart(tiles * panel, lanes)
    s["products_place"], s["scratch_place"] = 0, s["inner_place"] + POINTS * lanes
    own = s["scratch_place"] + POINTS * apart(channels * panel, lanes) + block_size(TAPS, lanes)
    s["work"] = max(int(s["work"]), int(own))
    segments = [(0, channels), (0, C % channels)]
    return dataclasses.replace(
        of_image,
        shape=records(shape),
        segments=pairs(segments, steps(tiles, int(s["pixel"]), panel)),
        transforms=geometry.batch * bands,
    )


def forget() -> None:
    """Forget what was planned, once a constant was changed."""
    weight_plan.cache_clear()
    _gathering.cache_clear()


def _of_image(what: Gathering, model: Model) -> Plan | None:
    """Return the plan of a single image, cut into bands, if all are to be done at once."""
    cycles, batch = cycles_of(what, model), what.geometry.batch
    tiles = batch * -(-what.rows.target_size // TILE) * -(-what.columns.target_size // TILE)
    products = what.source_channels * what.target_channels
    few = tiles <= min(MOST_TILES, products // TILE_PRODUCTS)
    if not (few and products >= LEAST_PRODUCTS and is_winograd(cycles)):
        return None
    one = dataclasses.replace(what.geometry, batch=1)
    return plan_gathering(dataclasses.replace(what, geometry=one), cycles, shares=1)


def _tiles(s: Any) -> int:
    """Return how many tiles all images have."""
    return int(s["images"] * -(-s["target_rows"] // TILE) * s["tiles_across"])
