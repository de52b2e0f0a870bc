"""The loop nest of a convolution forward and backward to the input: gather, multiply, finish."""

from __future__ import annotations

import numba

from kernels.backends.numba.calls import (
    ADDED,
    ADDS,
    BLOCKS,
    MASK,
    MASK_RELU,
    MASKED,
    MASKS,
    MOMENTS,
    NORM,
    NORMED,
    PHASES,
    POOLED,
    POOLS,
    PULL,
    PULLED,
    PULLS,
    RELU,
    SEGMENTS,
    SHAPES,
    SLOTS,
    START,
    TAKEN,
    TARGET,
    WEIGHTS,
    X,
    doubles_at,
    integers_at,
    new_call,
    shape_at,
)
from kernels.backends.numba.direct import convolve_direct
from kernels.backends.numba.finishing import collect_moments, finish_gradient
from kernels.backends.numba.jit import parallel
from kernels.backends.numba.loading import load_band
from kernels.backends.numba.micro_kernel import prepare
from kernels.backends.numba.standalone import Standalone
from kernels.backends.numba.vector import address, at_address, pointer
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
        Packed; what each target channel starts from.
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
    call = new_call()
    call[X], call[NORM], call[PULLED] = address(source), address(norm), address(pulled)
    call[PULL], call[TAKEN], call[POOLED] = address(pull), address(taken), address(pool)
    call[NORMED], call[RELU], call[PULLS], call[POOLS] = len(norm), relu, len(pull), len(pool)
    call[WEIGHTS], call[START], call[TARGET] = address(weights), address(start), address(target)
    call[ADDED], call[ADDS] = address(added), len(added)
    call[MASKED], call[MASK], call[MASKS] = address(masked), address(mask), len(mask)
    call[MASK_RELU], call[MOMENTS], call[SLOTS] = mask_relu, moments, address(slots)
    call[SHAPES], call[PHASES] = address(shape), address(phases)
    call[BLOCKS], call[SEGMENTS] = address(blocks), address(segments)
    s = shape[0]
    size = s.work
    for task in numba.prange(-(-s.images // s.chunk) * s.bands * s.parts):
        gather_task(pointer(work, numba.get_thread_id() * size), pointer(call, 0), task)


def gather_task(work, call, task):
    """Load the sources of some pixels and channels, multiply, and finish the targets."""
    s = shape_at(call[SHAPES], 0)
    part, band = task % s.parts, task // s.parts % s.bands
    image = task // (s.parts * s.bands) * s.chunk
    images = min(s.chunk, s.images - image)
    scratch_size = s.scratch_rows * s.scratch_columns * s.pixel
    for i in range(images):
        load_band(
            work, s.scratch_place + i * scratch_size, image + i, band, call, s, 0, s.source_channels
        )
    row = band * s.band_rows
    rows = min(s.band_rows, s.target_rows - row)
    first = (image * s.target_rows + row) * s.target_columns * s.target_channels
    panel_from = part * s.part_panels
    panel_to = min(panel_from + s.part_panels, s.panels)
    target = at_address(work, call[TARGET])
    to, terms = pointer(target, first), integers_at(call[SEGMENTS], 0)
    by, base = at_address(work, call[WEIGHTS]), at_address(work, call[START])
    if s.winograd > 0:
        transform_sources(work, images, s.source_channels, s)
        convolve_winograd(to, rows, images, work, by, base, panel_from, panel_to, terms, s)
    else:
        convolve_direct(
            to, images, band == s.bands - 1, work, by, base, panel_from, panel_to,
            call[PHASES], call[BLOCKS], terms, s,
        )  # fmt: skip
    C, pixels = s.target_channels, images * rows * s.target_columns
    c_from, c_to = panel_from * s.panel, C if s.parts == 1 else min(C, panel_to * s.panel)
    slots, slot = doubles_at(call[SLOTS], 0), task // s.parts * 3 * C
    if call[MOMENTS] > 0:
        collect_moments(target, first, pixels, C, c_from, c_to, slots, slot, work, s.inner_place)
    else:
        finish_gradient(
            target, first, pixels, C, c_from, c_to, call, slots, slot, work, s.inner_place
        )


prepare_gather = Standalone(gather_task, pointers=1, integers=1, needs=prepare).prepare
"""To be called with a dtype before ``gather``."""
