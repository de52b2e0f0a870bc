"""Random shifts and rotations of training images."""

from __future__ import annotations

from typing import Any

import numpy as np

import kernels
from cnn.arrays import FloatArray
from cnn.data import resampling
from kernels.ops import checks


class Augmentation:
    """Shifts and rotates each image of a batch at random; ``fit(..., augment=...)`` takes it.

    Both are drawn evenly, and pixels are interpolated linearly. What comes in from outside repeats
    the edge, so that no value has to mean "background" in normalised images.

    Parameters
    ----------
    shift : float
        Largest shift in pixels, in both directions.
    rotation : float
        Largest angle in degrees, either way round.
    seed : int
        Of the draws. The generator's state is part of a checkpoint.

    Raises
    ------
    kernels.ShapeError, TypeError
        If an argument does not fit.
    """

    def __init__(self, shift: float = 0.0, rotation: float = 0.0, *, seed: int = 0) -> None:
        self.shift = checks.number("shift", shift)
        self.rotation = checks.number("rotation", rotation, largest=180.0)
        self.seed = checks.integer("seed", seed, 0)
        self._rng = np.random.default_rng(self.seed)

    def __call__(self, x: FloatArray) -> FloatArray:
        """Return a changed copy of images (N, C, H, W)."""
        if x.ndim != 4:
            raise kernels.ShapeError(f"augment takes images (N, C, H, W), got shape {x.shape}")
        angles = np.radians(self._rng.uniform(-self.rotation, self.rotation, len(x)))
        shifts = self._rng.uniform(-self.shift, self.shift, (len(x), 2))
        if self.rotation:
            return resampling.turned(x, angles, shifts)
        return resampling.shifted(x, shifts)

    def named_generators(self) -> dict[str, np.random.Generator]:
        """Return ``rng``."""
        return {"rng": self._rng}

    def describe(self) -> dict[str, Any]:
        """Return the settings, ready for JSON."""
        return {
            "name": "Augmentation",
            "shift": self.shift,
            "rotation": self.rotation,
            "seed": self.seed,
        }
