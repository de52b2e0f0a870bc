"""Random arrays, and the one way in which a result is compared with the reference."""

from __future__ import annotations

import numpy as np

from kernels import tolerance


def random(seed: int, dtype: str, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def assert_within(actual, reference, magnitude, length) -> None:
    assert actual.dtype == reference.dtype
    assert actual.shape == reference.shape
    error = np.abs(actual.astype(np.float64) - reference.astype(np.float64))
    excess = error - tolerance.bound(magnitude, length)
    assert excess.max(initial=-1.0) <= 0.0, f"off by {error.max()} at {np.argmax(excess)}"
