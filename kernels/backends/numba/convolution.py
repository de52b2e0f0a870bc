"""Convolution and its gradients: gather a band of rows into cache, multiply by the weights.

One task is a band of output rows of one image. Forward and backward to the input are the same
loop nest under different plans. The weight gradient sums tasks into a few partial results, by a
rule that depends on the shapes alone, so that its bits do not depend on the number of threads.
"""

from __future__ import annotations

import numba
import numpy as np

from kernels.backends.contract import FloatArray
from kernels.backends.numba import depthwise
from kernels.backends.numba.blocks import clear, copy
from kernels.backends.numba.jit import parallel, serial
from kernels.backends.numba.memory import FlatOutput, flat_input
from kernels.backends.numba.micro_kernel import multiply_accumulate
from kernels.backends.numba.plan import Plan, backward_plan, forward_plan
from kernels.backends.numba.reduction import channel_sums
from kernels.geometry import ConvGeometry

MOST_PARTIALS = 16
PARTIAL_BYTES = 16 * 2**20
"""Limits to the partial weight gradients that are summed side by side; two there always are."""


def conv2d(
    x: FloatArray,
    weight: FloatArray,
    bias: FloatArray | None,
    geometry: ConvGeometry,
    *,
    out: FloatArray,
) -> None:
    """Gather each output from the inputs under its window."""
    if depthwise.fits(geometry):
        depthwise.conv2d(x, weight, bias, geometry, out=out)
        return
    plan = forward_plan(geometry)
    start = np.zeros(geometry.out_channels, x.dtype) if bias is None else bias
    weights = _packed(weight, plan, geometry, transposed=False)
    with FlatOutput(out) as y:
        _gather(flat_input(x), flat_input(weights), flat_input(start), y, plan)


def conv2d_backward_input(
    grad_y: FloatArray, weight: FloatArray, geometry: ConvGeometry, *, out: FloatArray
) -> None:
    """Gather each input's gradient from the outputs it went into."""
    if depthwise.fits(geometry):
        depthwise.conv2d_backward_input(grad_y, weight, geometry, out=out)
        return
    plan = backward_plan(geometry)
    start = np.zeros(geometry.channels, grad_y.dtype)
    weights = _packed(weight, plan, geometry, transposed=True)
    with FlatOutput(out) as grad_x:
        _gather(flat_input(grad_y), flat_input(weights), flat_input(start), grad_x, plan)


def conv2d_backward_weight(
    grad_y: FloatArray, x: FloatArray, geometry: ConvGeometry, *, out: FloatArray
) -> None:
    """Multiply the transposed windows by the outputs' gradients, and sum over images."""
    if depthwise.fits(geometry):
        depthwise.conv2d_backward_weight(grad_y, x, geometry, out=out)
        return
    plan = forward_plan(geometry)
    G, (O, Cg, KH, KW) = geometry.groups, geometry.weight_shape
    partials = np.zeros((_partials(plan, out.nbytes), G, KH * KW * Cg, O // G), x.dtype)
    _accumulate(flat_input(x), flat_input(grad_y), partials.reshape(-1), len(partials), plan)
    total = partials.sum(axis=0).reshape(G, KH, KW, Cg, O // G)
    out[...] = total.transpose(0, 4, 3, 1, 2).reshape(out.shape)


def conv2d_backward_bias(grad_y: FloatArray, *, out: FloatArray) -> None:
    """Sum over images and pixels."""
    out[...] = channel_sums(flat_input(grad_y), grad_y.shape[1])


def _packed(
    weight: FloatArray, plan: Plan, geometry: ConvGeometry, *, transposed: bool
) -> FloatArray:
    """Return the weights flat in the order group, tap (as planned), source and target channel."""
    G, (O, Cg, KH, KW) = geometry.groups, geometry.weight_shape
    split = weight.reshape(G, O // G, Cg, KH * KW)
    order = (0, 3, 1, 2) if transposed else (0, 3, 2, 1)
    return split.transpose(order)[:, plan.taps].reshape(-1)


def _partials(plan: Plan, weight_bytes: int) -> int:
    tasks = plan.images * plan.bands
    return max(1, min(tasks, MOST_PARTIALS, max(2, PARTIAL_BYTES // weight_bytes)))


@parallel
def _gather(source, weights, start, target, plan):
    for task in numba.prange(plan.images * plan.bands):
        _gather_band(source, weights, start, target, task // plan.bands, task % plan.bands, plan)


@serial
def _gather_band(source, weights, start, target, image, band, plan):
    scratch = _band_of(source, image, band, plan)
    out_group = plan.target_channels // plan.groups
    in_group = plan.source_channels // plan.groups
    row = band * plan.band_rows
    first = (image * plan.target_rows + row) * plan.target_columns * plan.target_channels
    last = band == plan.bands - 1
    pixels = min(plan.band_rows, plan.target_rows - row) * plan.target_columns
    for pixel in range(pixels):
        copy(target, first + pixel * plan.target_channels, start, 0, plan.target_channels)
    group_size = plan.tap_starts[-1] * out_group
    for phase in range(len(plan.pixel_starts) - 1):
        begin = plan.pixel_starts[phase]
        end = begin + plan.pixel_counts[int(last), phase]
        tap_begin, tap_end = plan.tap_starts[phase], plan.tap_starts[phase + 1]
        for group in range(plan.groups):
            multiply_accumulate(
                target,
                first + group * out_group,
                plan.target_offsets[begin:end],
                scratch,
                group * in_group,
                plan.pixel_offsets[begin:end],
                plan.tap_offsets[tap_begin:tap_end],
                weights,
                group * group_size + tap_begin * out_group,
                out_group,
                out_group,
            )


@parallel
def _accumulate(source, grad, partials, count, plan):
    tasks = plan.images * plan.bands
    size = len(partials) // count
    for part in numba.prange(count):
        for task in range(part * tasks // count, (part + 1) * tasks // count):
            _accumulate_band(
                source, grad, partials, part * size, task // plan.bands, task % plan.bands, plan
            )


@serial
def _accumulate_band(source, grad, partials, first, image, band, plan):
    scratch = _band_of(source, image, band, plan)
    out_group = plan.target_channels // plan.groups
    in_group = plan.source_channels // plan.groups
    row = image * plan.target_rows + band * plan.band_rows
    grad_first = row * plan.target_columns * plan.target_channels
    pixels = plan.pixel_counts[int(band == plan.bands - 1), 0]
    taps = len(plan.tap_offsets)
    weight_rows = np.arange(taps) * out_group
    for group in range(plan.groups):
        multiply_accumulate(
            partials,
            first + group * taps * out_group,
            weight_rows,
            scratch,
            group * in_group,
            plan.tap_offsets,
            plan.pixel_offsets[:pixels],
            grad,
            grad_first + group * out_group,
            plan.target_channels,
            out_group,
        )


@serial
def _band_of(source, image, band, plan):
    """Copy the source rows that a band of targets needs, with zeros outside the image."""
    C = plan.source_channels
    columns, width = plan.source_columns, plan.scratch_columns
    scratch = np.empty(plan.scratch_rows * width * C, source.dtype)
    left = min(width, max(0, -plan.first_column))
    inside = max(0, min(width - left, columns - (plan.first_column + left)))
    for i in range(plan.scratch_rows):
        row = plan.first_row + band * plan.band_step + i
        begin = i * width * C
        if row < 0 or row >= plan.source_rows:
            clear(scratch, begin, width * C)
            continue
        place = (image * plan.source_rows + row) * columns + plan.first_column + left
        clear(scratch, begin, left * C)
        copy(scratch, begin + left * C, source, place * C, inside * C)
        clear(scratch, begin + (left + inside) * C, (width - left - inside) * C)
    return scratch
