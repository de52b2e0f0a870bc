"""How raw pixels become a model's input."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnn.arrays import AnyArray, FloatArray


@dataclass(frozen=True, slots=True)
class Scaling:
    """Division by the largest possible pixel value, then normalisation if there are means.

    Attributes
    ----------
    divisor : float
        255 for 8-bit images.
    mean, std : tuple of float, or None
        Of each channel after the division: ``x = (pixels / divisor - mean) / std``.

    Raises
    ------
    ValueError
        If the divisor or a deviation is not finite and above 0, a mean is not finite, or means and
        deviations are not of one number.
    """

    divisor: float
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.divisor) and self.divisor > 0):
            raise ValueError(f"divisor must be finite and above 0, got {self.divisor!r}")
        if (self.mean is None) != (self.std is None):
            raise ValueError(f"mean and std belong together, got {self.mean!r} and {self.std!r}")
        if self.mean is None or self.std is None:
            return
        for name in ("mean", "std"):  # lists come from JSON
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if len(self.mean) != len(self.std) or not self.mean:
            raise ValueError(f"mean and std must be as many, got {self.mean!r} and {self.std!r}")
        if not all(map(math.isfinite, self.mean)):
            raise ValueError(f"mean must be finite, got {self.mean!r}")
        if not all(math.isfinite(value) and value > 0 for value in self.std):
            raise ValueError(f"std must be finite and above 0, got {self.std!r}")

    def apply(self, pixels: AnyArray) -> FloatArray:
        """Return the input for raw pixels (N, C, H, W) as a new float32 array."""
        x: FloatArray = np.divide(pixels, np.float32(self.divisor), dtype=np.float32)
        if self.mean is not None and self.std is not None:
            x -= _per_channel(self.mean)
            x /= _per_channel(self.std)
        return x

    def brightness(self, x: FloatArray) -> FloatArray:
        """Return the pixels behind an input, from 0 to 1: what a picture shows."""
        if self.mean is None or self.std is None:
            return x
        shown: FloatArray = x * _per_channel(self.std) + _per_channel(self.mean)
        return shown.clip(0, 1)

    def as_json(self) -> dict[str, Any]:
        """Return the attributes that are set, ready for JSON."""
        normalisation = {} if self.mean is None else {"mean": self.mean, "std": self.std}
        return {"divisor": self.divisor} | normalisation


def _per_channel(values: tuple[float, ...]) -> FloatArray:
    return np.array(values, np.float32).reshape(-1, 1, 1)
