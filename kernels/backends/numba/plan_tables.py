"""The records that a plan consists of, as compiled code reads them."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from kernels.backends.numba.cpu import REGISTER_BYTES

Table = NDArray[Any]


PIXEL_BYTES = 1024
"""Pixels at a multiple of so many bytes are put one vector further apart: at 4 KiB those of a tile
all fall onto the same 8 lines of the L1 cache; a product of 1024 channels took a third longer."""


COPIED, IN_PLACE, IN_PLACE_BUT_LAST = range(3)
"""Where a task's pixels are read: in its scratch buffer; where they are; or there, but for those of
the last band of the last images."""


def _fields(names: str) -> np.dtype[Any]:
    return np.dtype([(name, np.int64) for name in names.split()])


SHAPE = _fields(
    "images chunk bands parts groups in_group out_group panels part_panels panel terms "
    "source_rows source_columns source_channels pixel target_rows target_columns target_channels "
    "band_rows band_step first_row first_column scratch_rows scratch_columns phases "
    "winograd tiles_down tiles_across scratch_place products_place inner_place work "
    "row block_rows first_term a_step part_channels neighbours grouped joined in_place "
    "paired unused ascending depthwise row_step column_step target_row_step target_column_step "
    "rectangles rectangles_across sliding window window_step cleared fetched"
)
PHASE = _fields("first_row pixels pixels_last first_block last_block")
BLOCK = _fields("first last terms_before")
ROW_PHASE = _fields("first_tap end_tap taps_across first_column columns whole_begin whole_end")
TAP = _fields("row offset begin end")
"""What depthwise convolutions have instead of PHASE and of segments; see ``depthwise_plan``."""

POOL = _fields(
    "rows columns kernel_rows kernel_columns stride_rows stride_columns "
    "dilation_rows dilation_columns top left"
)
"""A max-pool that a gradient has to go back through: sizes of its output, and its window."""


def pixel_step(channels: int, lanes: int) -> int:
    """Return the distance from one pixel in working memory to the next."""
    aligned = channels * (REGISTER_BYTES // lanes) % PIXEL_BYTES == 0
    return channels + lanes if aligned else channels


def records(values: Table) -> Table:
    """Return records as compiled code reads them; without compilation, as Python reads them."""
    return values.view(np.recarray) if numba.config.DISABLE_JIT else values
