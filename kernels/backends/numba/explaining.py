"""What the planner chose for a convolution, in words and numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels.backends.numba import (
    choosing,
    depthwise_kernel,
    depthwise_plan,
    depthwise_weight_kernel,
    depthwise_weight_plan,
    grouped_kernel,
    plan,
    plan_weights,
    winograd_cost,
)
from kernels.backends.numba.grouped_in_place import tile_pixels
from kernels.backends.numba.micro_kernel import PANEL_VECTORS, TILE_ROWS
from kernels.geometry import ConvGeometry

DOTS = ["dot products of each pixel with the weights, as it lies: there is one target channel"]


def explain(geometry: ConvGeometry, dtype: np.dtype[Any]) -> dict[str, list[str]]:
    """Return for each pass a few lines: which loop nest, how it is cut, and why."""
    lanes = plan.lanes_of(dtype)
    if depthwise_plan.fits(geometry, lanes):
        return _in_place(geometry, lanes)
    turned = choosing.exchanged(geometry, dtype)
    weights = _accumulated(choosing.weight_plan(turned or geometry, dtype), dtype)
    if turned is not None:
        weights.append("x and the gradient are exchanged: there are more of x's channels")
    forward = choosing.forward_plan(geometry, dtype)
    backward = choosing.backward_plan(geometry, dtype)
    C, O = geometry.channels, geometry.out_channels
    return {
        "forward": DOTS
        if choosing.takes_dots(geometry, C, O, dtype)
        else _gathered(forward, dtype),
        "backward to the input": (
            DOTS if choosing.takes_dots(geometry, O, C, dtype) else _gathered(backward, dtype)
        ),
        "backward to the weights": weights,
    }


def _gathered(chosen: plan.Plan, dtype: np.dtype[Any]) -> list[str]:
    size = chosen.points_size if chosen.winograd else chosen.plain_size
    lines = [
        *_algorithm(chosen.shape[0], chosen.cycles),
        *_tasks(chosen.shape[0], chosen.tasks, _panels(chosen.shape[0]), dtype),
    ]
    if chosen.transforms:
        channels = f"{chosen.part_channels} of {chosen.source_channels}"
        return [
            *lines,
            _transforms(chosen.transforms, "sources", size, dtype),
            f"a task transforms the weights of {channels} source channels when it needs them",
        ]
    return [*lines, f"packed weights: {_size(size, dtype)}"]


def _transforms(tasks: int, what: str, size: int, dtype: np.dtype[Any]) -> str:
    return (
        f"all tiles are multiplied together: {tasks} tasks transform the {what} first, "
        f"{_size(size, dtype)}"
    )


def _accumulated(chosen: plan_weights.WeightPlan, dtype: np.dtype[Any]) -> list[str]:
    shape = chosen.shape[0]
    part = f"{shape['part_channels']} of {shape['source_channels']} source channels"
    if chosen.transforms:
        return [
            *_algorithm(shape, chosen.cycles),
            _transforms(chosen.transforms, "sources and gradients", chosen.size, dtype),
            f"{chosen.tasks} tasks: {part}, whose sums are complete before they leave the cache",
        ]
    return [
        *_algorithm(shape, chosen.cycles),
        *_tasks(shape, chosen.parts * int(shape["parts"]), part, dtype),
        f"{chosen.parts} partial results of {_size(chosen.size, dtype)}, added up in their order: "
        "the same bits on any number of threads",
    ]


def _algorithm(shape: Any, cycles: tuple[float, float] | None) -> list[str]:
    lanes = int(shape["panel"]) // PANEL_VECTORS
    if shape["grouped"]:
        filled = shape["groups"] / (shape["grouped"] * lanes)
        heights = ", ".join(map(str, grouped_kernel.TILE_ROWS))
        return [
            f"direct: a lane of a vector is one of the {shape['groups']} groups, few channels each",
            f"register tiles of {heights} rows × 1 vector, {filled:.0%} filled",
        ]
    filled = shape["out_group"] / (-(-shape["out_group"] // lanes) * lanes)
    heights = ", ".join(map(str, TILE_ROWS))
    tiles = f"register tiles of {heights} rows × {PANEL_VECTORS} vectors, {filled:.0%} filled"
    if shape["neighbours"] > 1:
        tiles += f" by {shape['neighbours']} neighbouring pixels that share a vector"
    if shape["paired"] and 0 < shape["out_group"] % shape["panel"] <= lanes:
        tiles += "; those of one vector multiply pairs"
    if shape["joined"] > 1:
        tiles += f", {shape['joined']} groups in one"
    name = "Winograd F(4×4, 3×3)" if shape["winograd"] else "direct"
    if cycles is None:
        why = "switched off"
        if winograd_cost.ENABLED:
            least = winograd_cost.LEAST_PIXELS
            why = f"only 3×3 of stride 1 and one group, of {least} pixels or more"
        return [f"{name} (Winograd: {why})", tiles]
    direct, winograd = (f"{c / 1e6:.2f}" for c in cycles)
    return [f"{name}: the model has {direct} million cycles direct, {winograd} Winograd", tiles]


def _panels(shape: Any) -> str:
    return f"{shape['part_panels']} of {shape['panels']} panels of {shape['panel']} channels"


def _tasks(shape: Any, tasks: int, part: str, dtype: np.dtype[Any]) -> list[str]:
    return [
        f"{tasks} tasks: {shape['chunk']} of {shape['images']} images, {shape['band_rows']} of "
        f"{shape['target_rows']} rows, {part}",
        f"a thread works in {_size(int(shape['work']), dtype)}, source pixels with their padding "
        f"({shape['scratch_rows']} × {shape['scratch_columns']} an image) included",
    ]


def _in_place(geometry: ConvGeometry, lanes: int) -> dict[str, list[str]]:
    forward = depthwise_plan.forward_plan(geometry, lanes)
    backward = depthwise_plan.backward_plan(geometry, lanes)
    return {
        "forward": _gathered_in_place(forward),
        "backward to the input": _gathered_in_place(backward),
        "backward to the weights": _accumulated_in_place(geometry, lanes),
    }


def _accumulated_in_place(geometry: ConvGeometry, lanes: int) -> list[str]:
    if not depthwise_weight_plan.fits(geometry):
        return ["direct, what is loaded is copied: the window is too large for tables of its taps"]
    chosen = depthwise_weight_plan.weight_plan(geometry, lanes)
    shape = chosen.shape[0]
    taps, vectors = depthwise_weight_kernel.TAPS, depthwise_weight_kernel.VECTORS
    sums = f"{taps} taps × {vectors} vectors"
    in_group, out_group = int(shape["in_group"]), int(shape["out_group"])
    if (in_group, out_group) != (1, 1):
        taps = depthwise_weight_plan.taps_together(in_group, out_group, shape["terms"] // in_group)
        sums = f"{taps} taps × {in_group} × {out_group} channels of a vector of groups"
    over = "rows along which the windows slide"
    if not shape["sliding"]:
        over = f"{shape['rectangles']} rectangles of pixels that have the same taps"
    return [
        f"{chosen.tasks} tasks: {chosen.parts} partial results, added up in their order, of "
        f"{shape['part_channels']} of {geometry.groups} groups",
        f"sums of {sums} in registers, over {over}",
    ]


def _gathered_in_place(chosen: plan.Plan) -> list[str]:
    whole = sum(int(phase["whole_end"] - phase["whole_begin"]) for phase in chosen.phases)
    columns = sum(int(phase["columns"]) for phase in chosen.phases)
    tiles = f"{depthwise_kernel.TILE_PIXELS} pixels × {depthwise_kernel.TILE_VECTORS} vectors"
    groups = "one channel to each group: channels fill the vectors, nothing is copied"
    if (chosen.in_group, chosen.out_group) != (1, 1):
        tiles = f"{tile_pixels(chosen.in_group, chosen.out_group)} pixels × 1 vector of groups"
        groups = (
            f"{chosen.in_group} channels of a group to {chosen.out_group}: a lane of a vector is a "
            "group, channels are dealt out as they are loaded, nothing is copied"
        )
    how = {
        depthwise_plan.SLIDES: "windows slide along each row: a source pixel is loaded once for "
        "each row of a window",
        depthwise_plan.GATHERS: "windows go along each row, their sums in registers: a column of "
        "three belongs to two of them",
        depthwise_plan.SCATTERS: "each source pixel of a row is loaded once, and completes the "
        f"sums of {chosen.window_step} target columns",
    }.get(chosen.sliding)
    if how is None:
        how = (
            f"tiles of {tiles} for the {whole / max(1, columns):.0%} "
            "of the columns that no tap leaves the image of, one pixel at a time for the others"
        )
    return [
        groups,
        f"{chosen.tasks} tasks: bands of {chosen.band_rows} of {chosen.target_rows} rows",
        how,
    ]


def _size(elements: int, dtype: np.dtype[Any]) -> str:
    return f"{elements * dtype.itemsize / 1024:.0f} KiB"
