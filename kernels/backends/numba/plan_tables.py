"""The records that a plan consists of, as compiled code reads them."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

Table = NDArray[Any]


def _fields(names: str) -> np.dtype[Any]:
    return np.dtype([(name, np.int64) for name in names.split()])


SHAPE = _fields(
    "images chunk bands parts groups in_group out_group panels part_panels panel terms "
    "source_rows source_columns source_channels target_rows target_columns target_channels "
    "band_rows band_step first_row first_column scratch_rows scratch_columns phases "
    "winograd tiles_down tiles_across scratch_place products_place inner_place work "
    "row block_rows segments"
)
PHASE = _fields(
    "target_first rows rows_last columns a_step a_row c_step c_row first_block last_block"
)
BLOCK = _fields("first last terms_before")
POOL = _fields(
    "rows columns kernel_rows kernel_columns stride_rows stride_columns "
    "dilation_rows dilation_columns top left"
)
"""A max-pool that a gradient has to go back through: sizes of its output, and its window."""


def records(values: Table) -> Table:
    """Return records as compiled code reads them; without compilation, as Python reads them."""
    return values.view(np.recarray) if numba.config.DISABLE_JIT else values
