"""The loop nest of a convolution forward and backward to the input: gather, multiply, finish."""

from __future__ import annotations

import numba

from kernels.backends.numba.direct import convolve_direct
from kernels.backends.numba.finishing import collect_moments, finish_gradient
from kernels.backends.numba.jit import parallel, serial
from kernels.backends.numba.loading import load_band
from kernels.backends.numba.vector import pointer
from kernels.backends.numba.winograd import convolve_winograd, transform_sources


@parallel
def gather(
    source, norm, relu, pulled, pull, taken, pool, weights, start,
    target, added, masked, mask, mask_relu, moments, slots, work,
    shape, phases, blocks, segments,
):  # fmt: skip
    """Write the target's pixels, each a sum over its window of source pixels.

    Parameters
    ----------
    source, norm, relu, pulled, pull, taken, pool
        What the values are gathered from; see ``loading``.
    weights, start
        Packed; what each target channel starts from, then a panel of zeros.
    target : array
        The result.
    added, masked, mask, mask_relu
        A gradient to add; then the x, norm and ReLU that the forward pass read; see ``finishing``.
    moments : bool
        Whether to sum the target's moments; otherwise the masked gradient's sums are taken.
    slots : float64 array
        3 · channels for each task.
    work : array
        Working memory for each thread.
    shape, phases, blocks, segments
        Of a Plan.
    """
    s = shape[0]
    size = s.work
    for task in numba.prange(-(-s.images // s.chunk) * s.bands * s.parts):
        _gather_task(
            source, norm, relu, pulled, pull, taken, pool, weights, start,
            target, added, masked, mask, mask_relu, moments, slots,
            pointer(work, numba.get_thread_id() * size), task, shape, phases, blocks, segments,
        )  # fmt: skip


@serial
def _gather_task(
    source, norm, relu, pulled, pull, taken, pool, weights, start,
    target, added, masked, mask, mask_relu, moments, slots,
    work, task, shape, phases, blocks, segments,
):  # fmt: skip
    s = shape[0]
    part, band = task % s.parts, task // s.parts % s.bands
    image = task // (s.parts * s.bands) * s.chunk
    images = min(s.chunk, s.images - image)
    scratch_size = s.scratch_rows * s.scratch_columns * s.source_channels
    for i in range(images):
        load_band(
            work, s.scratch_place + i * scratch_size, s.source_channels, image + i, band,
            source, norm, relu, pulled, pull, taken, pool, s,
        )  # fmt: skip
    row = band * s.band_rows
    rows = min(s.band_rows, s.target_rows - row)
    first = (image * s.target_rows + row) * s.target_columns * s.target_channels
    panel_from = part * s.part_panels
    panel_to = min(panel_from + s.part_panels, s.panels)
    to, terms = pointer(target, first), pointer(segments, 0)
    by, base = pointer(weights, 0), pointer(start, 0)
    if s.winograd:
        transform_sources(work, images, s)
        convolve_winograd(to, rows, images, work, by, base, panel_from, panel_to, terms, s)
    else:
        last = band == s.bands - 1
        convolve_direct(
            to, last, work, by, base, panel_from, panel_to, phases, blocks, terms, s
        )
    C, pixels = s.target_channels, images * rows * s.target_columns
    c_from, c_to = panel_from * s.panel, C if s.parts == 1 else min(C, panel_to * s.panel)
    slot = task // s.parts * 3 * C
    if moments:
        collect_moments(target, first, pixels, C, c_from, c_to, slots, slot, work, s.inner_place)
    else:
        finish_gradient(
            target, first, pixels, C, c_from, c_to, added, masked, mask, mask_relu,
            slots, slot, work, s.inner_place,
        )  # fmt: skip
