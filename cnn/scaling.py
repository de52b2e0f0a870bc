"""How raw pixels become a model's input."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from cnn.arrays import AnyArray, FloatArray


@dataclass(frozen=True, slots=True)
class Scaling:
    """Division of raw pixel values by their largest possible value.

    Attributes
    ----------
    divisor : float
        255 for 8-bit images.

    Raises
    ------
    ValueError
        If the divisor is not finite and above 0.
    """

    divisor: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.divisor) and self.divisor > 0):
            raise ValueError(f"divisor must be finite and above 0, got {self.divisor!r}")

    def apply(self, pixels: AnyArray) -> FloatArray:
        """Return ``pixels / divisor`` as a new float32 array."""
        return np.divide(pixels, np.float32(self.divisor), dtype=np.float32)
