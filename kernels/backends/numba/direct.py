"""The direct convolution of a task: runs of target pixels times the packed weights."""

from __future__ import annotations

from kernels.backends.numba.calls import block_at, phase_at
from kernels.backends.numba.jit import serial
from kernels.backends.numba.micro_kernel import multiply_panel


@serial
def convolve_direct(
    target, last, work, weights, start, panel_from, panel_to, phases, blocks, segments, s
):
    """Write a band of target pixels.

    Parameters
    ----------
    last : bool
        Whether it is the last band of its image, which may have fewer rows.
    work : array
        Begins with the scratch buffer.
    weights : array
        [group][panel][term][panel's channels].
    start : array
        What each target channel starts from: the bias, or zeros.
    panel_from, panel_to : int
        The panels of each group to do.
    """
    for group in range(s.groups):
        for panel in range(panel_from, panel_to):
            v = panel * s.panel
            c = group * s.out_group + v
            b = (group * s.panels + panel) * s.terms
            V = min(s.panel, s.out_group - v)
            for i in range(s.phases):
                _run_phase(
                    target, c, V, last, work, group * s.in_group, weights, b, start,
                    phase_at(phases, i), s.panel, blocks, segments,
                )  # fmt: skip


@serial
def _run_phase(target, c, V, last, work, a, weights, b, start, phase, panel, blocks, segments):
    """Do the pixels of one phase: rows that follow one another in memory go as one."""
    rows = phase.rows_last if last else phase.rows
    columns = phase.columns
    if columns * phase.a_step == phase.a_row and columns * phase.c_step == phase.c_row:
        rows, columns = min(rows, 1), rows * columns
    to = phase.target_first + c
    for k in range(phase.first_block, phase.last_block):
        block = block_at(blocks, k)
        b_place = (b + block.terms_before) * panel
        for i in range(rows):
            c_place = to + i * phase.c_row
            base, base_place, base_step = start, c, 0
            if k > phase.first_block:
                base, base_place, base_step = target, c_place, phase.c_step
            multiply_panel(
                target, base, work, weights, segments, columns, V,
                c_place, base_place, a + i * phase.a_row,
                phase.c_step, base_step, phase.a_step, 1, b_place, panel, block.first, block.last,
            )  # fmt: skip
