"""The direct convolution of a task: target pixels times the packed weights."""

from __future__ import annotations

from kernels.backends.numba.calls import block_at, phase_at
from kernels.backends.numba.jit import serial
from kernels.backends.numba.micro_kernel import START, SUMS, TERMS, multiply_panel


@serial
def convolve_direct(
    target, images, last, source, weights, start, ahead, panel_from, panel_to,
    phases, blocks, table, s,
):  # fmt: skip
    """Write a band of target pixels of so many images.

    Parameters
    ----------
    last : bool
        Whether it is the last band of its image, which may have fewer rows.
    source : array
        Begins with the scratch buffer, or with what would be in it.
    weights : array
        [group][panel][term][panel's channels].
    start : array
        What each target channel starts from: the bias, or zeros.
    ahead : tuple
        What each product fetches for the next task; see ``rows_ahead``.
    panel_from, panel_to : int
        The panels of each group to do.
    """
    later, line, end, step = ahead
    begin = START + s.fetched
    for group in range(s.groups):
        for panel in range(panel_from, panel_to):
            v = panel * s.panel
            c = group * s.out_group + v
            b = (group * s.panels + panel) * s.terms
            V = min(s.panel, s.out_group - v)
            for i in range(s.phases):
                phase = phase_at(phases, i)
                pixels = images * (phase.pixels_last if last else phase.pixels)
                for k in range(phase.first_block, phase.last_block):
                    block = block_at(blocks, k)
                    multiply_panel(
                        target, start, source, weights, later, table, phase.first_row, pixels, V,
                        TERMS * s.paired, line, min(end, line + step),
                        SUMS if k > phase.first_block else begin, c, c, group * s.in_group, 1,
                        (b + block.terms_before) * s.panel, s.panel, block.first, block.last,
                    )  # fmt: skip
                    line += step
