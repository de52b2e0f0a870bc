"""What the planner chose for a convolution, in words and numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels.backends.numba import depthwise, depthwise_kernel, depthwise_plan, plan
from kernels.backends.numba.cpu import REGISTER_BYTES
from kernels.backends.numba.micro_kernel import TILE_ROWS, TILE_VECTORS
from kernels.geometry import ConvGeometry


def explain(geometry: ConvGeometry, dtype: np.dtype[Any]) -> dict[str, list[str]]:
    """Return for each pass a few lines: which loop nest, how it is cut, and why."""
    if depthwise.fits(geometry):
        return _depthwise(geometry, dtype)
    forward, backward = plan.forward_plan(geometry), plan.backward_plan(geometry)
    return {
        "forward": _gathered(forward, dtype),
        "backward to the input": _gathered(backward, dtype),
        "backward to the weights": _accumulated(forward, geometry, dtype),
    }


def _gathered(chosen: plan.Plan, dtype: np.dtype[Any]) -> list[str]:
    in_group = chosen.source_channels // chosen.groups
    out_group = chosen.target_channels // chosen.groups
    taps = np.diff(chosen.tap_starts) // in_group
    phases = f"{len(taps)} phases of {taps.min()} to {taps.max()}" if len(taps) > 1 else taps[0]
    lines = [
        *_bands(chosen, dtype),
        f"each group of {in_group} to {out_group} channels: {phases} taps, products of pixels × "
        f"{int(taps.max()) * in_group} × {out_group}",
        _tile(out_group, dtype),
        f"packed weights: {_size(int(taps.sum()) * in_group * chosen.target_channels, dtype)}",
    ]
    if len(taps) > 1:
        lines.append("a phase has the targets that take the same taps: no zeros are multiplied")
    return lines


def _accumulated(forward: plan.Plan, geometry: ConvGeometry, dtype: np.dtype[Any]) -> list[str]:
    _, Cg, KH, KW = geometry.weight_shape
    out_group = geometry.out_channels // geometry.groups
    return [
        *_bands(forward, dtype),
        f"each group: a product of {KH * KW * Cg} × a band's pixels × {out_group}",
        _tile(out_group, dtype),
        "tasks are summed into partial results fixed by the shapes: the same bits on any number "
        "of threads",
    ]


def _bands(chosen: plan.Plan, dtype: np.dtype[Any]) -> list[str]:
    elements = chosen.scratch_rows * chosen.scratch_columns * chosen.source_channels
    return [
        f"{chosen.images * chosen.bands} tasks: {chosen.bands} bands of {chosen.band_rows} of "
        f"{chosen.target_rows} rows in each of {chosen.images} images, at least "
        f"{plan.LEAST_TASKS} where there are rows enough",
        f"a task copies {chosen.scratch_rows} × {chosen.scratch_columns} source pixels, padding "
        f"included: {_size(elements, dtype)}, to stay in L2",
    ]


def _tile(columns: int, dtype: np.dtype[Any]) -> str:
    lanes = REGISTER_BYTES // dtype.itemsize
    filled = columns / (-(-columns // lanes) * lanes)
    return f"tiles of {TILE_ROWS} × {TILE_VECTORS} vectors; channels fill {filled:.0%} of them"


def _depthwise(geometry: ConvGeometry, dtype: np.dtype[Any]) -> dict[str, list[str]]:
    forward = depthwise_plan.forward_plan(geometry)
    backward = depthwise_plan.backward_plan(geometry)
    sizes = forward.sizes
    rows, columns = (
        int(sizes[depthwise_plan.BLOCK_ROWS]),
        int(sizes[depthwise_plan.SCRATCH_COLUMNS]),
    )
    return {
        "forward": _depthwise_gathered(forward),
        "backward to the input": _depthwise_gathered(backward),
        "backward to the weights": [
            _depthwise_tasks(forward),
            f"for each vector of channels, {rows} rows of {columns} source pixels are copied, "
            "padding included, to stay in L1 or L2",
            f"{depthwise_plan.TAP_BLOCK} taps are summed at once in registers",
        ],
    }


def _depthwise_gathered(chosen: depthwise_plan.Plan) -> list[str]:
    begin, end = depthwise_plan.WHOLE_BEGIN, depthwise_plan.WHOLE_END
    whole = sum(int(phase[end] - phase[begin]) for phase in chosen.phases)
    columns = sum(int(phase[depthwise_plan.COLUMNS]) for phase in chosen.phases)
    pixels, vectors = depthwise_kernel.TILE_PIXELS, depthwise_kernel.TILE_VECTORS
    return [
        "one channel to each group: channels fill the vectors, nothing is copied",
        _depthwise_tasks(chosen),
        f"tiles of {pixels} pixels × {vectors} vectors for the {whole / max(1, columns):.0%} of "
        "the columns that no tap leaves the image of, one pixel at a time for the others",
    ]


def _depthwise_tasks(chosen: depthwise_plan.Plan) -> str:
    sizes = chosen.sizes
    tasks, rows = int(sizes[depthwise_plan.TASKS]), int(sizes[depthwise_plan.BAND_ROWS])
    return f"{tasks} tasks: bands of {rows} of {int(sizes[depthwise_plan.TARGET_ROWS])} rows"


def _size(elements: int, dtype: np.dtype[Any]) -> str:
    return f"{elements * dtype.itemsize / 1024:.0f} KiB"
