"""Random shifts and rotations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.ndimage import affine_transform

import kernels
from cnn.data import Augmentation


def test_nothing_to_do_changes_nothing(rng: np.random.Generator) -> None:
    x = rng.random((3, 2, 5, 6), dtype=np.float32)
    moved = Augmentation()(x)
    assert moved is not x
    assert moved == pytest.approx(x, abs=1e-6)


def spot(height: int, width: int) -> np.ndarray:
    """A bright, blurred spot in the middle of images."""
    rows, columns = np.mgrid[:height, :width]
    distance = (rows - (height - 1) / 2) ** 2 + (columns - (width - 1) / 2) ** 2
    image: np.ndarray = np.exp(-distance / 8)
    return image


def centre(images: np.ndarray) -> np.ndarray:
    """Centres of mass of images (N, 1, H, W) around their middle, (N, 2)."""
    N, _, H, W = images.shape
    weights = images.reshape(N, H, W) / images.sum(axis=(1, 2, 3), keepdims=True)[:, 0]
    rows = (weights.sum(axis=2) * (np.arange(H) - (H - 1) / 2)).sum(axis=1)
    columns = (weights.sum(axis=1) * (np.arange(W) - (W - 1) / 2)).sum(axis=1)
    return np.stack([rows, columns], axis=1)


def test_shifts_are_spread_evenly_over_their_range() -> None:
    x = np.broadcast_to(spot(21, 25), (400, 1, 21, 25))
    found = centre(Augmentation(shift=3)(x))
    assert abs(found).max() == pytest.approx(3, abs=0.1)
    assert found.mean(axis=0) == pytest.approx([0, 0], abs=0.2)
    assert found.std(axis=0) == pytest.approx(np.full(2, 3 / np.sqrt(3)), abs=0.15)
    assert abs(np.corrcoef(found.T)[0, 1]) < 0.15


def test_rotations_turn_around_the_middle() -> None:
    x = np.zeros((300, 1, 31, 31))
    x[:, 0, 15, 20:25] = 1  # a bar to the right of the middle
    found = centre(Augmentation(rotation=20)(x))
    angles = np.degrees(np.arctan2(found[:, 0], found[:, 1]))
    assert np.hypot(*found.T) == pytest.approx(7, abs=0.2)
    assert abs(angles).max() == pytest.approx(20, abs=1)
    assert angles.mean() == pytest.approx(0, abs=2)


def test_edges_are_repeated() -> None:
    x = np.full((20, 1, 6, 6), 0.7)
    assert Augmentation(shift=3, rotation=45)(x) == pytest.approx(x)


def with_scipy(x: np.ndarray, angles: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Images turned, then shifted, one plane at a time."""
    moved = np.empty_like(x)
    middle = (np.array(x.shape[2:]) - 1) / 2
    for image, target, angle, shift in zip(x, moved, angles, shifts, strict=True):
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        origin = middle - turn @ (middle + shift)
        for plane, out in zip(image, target, strict=True):
            out[...] = affine_transform(plane, turn, origin, order=1, mode="nearest")
    return moved


@pytest.mark.parametrize("rotation", [0, 30])
@pytest.mark.parametrize(
    ("shape", "shift"),
    [
        ((5, 3, 8, 9), 2),
        ((40, 1, 28, 28), 1.5),  # more than a block
        ((2, 2, 200, 170), 10),  # each image a block
        ((4, 1, 5, 7), 30),  # out of sight
        ((6, 2, 1, 6), 1),
        ((6, 1, 6, 1), 1),
        ((3, 1, 1, 1), 1),
        ((0, 1, 4, 4), 1),
        ((2, 0, 4, 4), 1),
    ],
)
def test_images_move_as_scipy_moves_them(
    shape: tuple[int, ...], shift: float, rotation: float, rng: np.random.Generator
) -> None:
    x = rng.standard_normal(shape)
    draws = np.random.default_rng(7)
    angles = np.radians(draws.uniform(-rotation, rotation, len(x)))
    shifts = draws.uniform(-shift, shift, (len(x), 2))
    expected = with_scipy(x, angles, shifts)
    assert Augmentation(shift, rotation, seed=7)(x) == pytest.approx(expected, abs=1e-12)
    in_float32 = Augmentation(shift, rotation, seed=7)(x.astype(np.float32))
    assert in_float32 == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_channels_move_together_whatever_their_layout(
    dtype: type, rng: np.random.Generator
) -> None:
    x = rng.random((4, 3, 8, 9)).astype(dtype)
    moved = Augmentation(2, 10, seed=5)(x)
    assert moved.dtype == dtype
    channels_last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert np.array_equal(Augmentation(2, 10, seed=5)(channels_last), moved)
    for channel in range(3):
        alone = Augmentation(2, 10, seed=5)(x[:, channel : channel + 1])
        assert np.array_equal(alone[:, 0], moved[:, channel])


def test_draws_depend_on_the_seed_and_go_on(rng: np.random.Generator) -> None:
    x = rng.random((4, 1, 8, 8))
    one, same, other = Augmentation(2, seed=1), Augmentation(2, seed=1), Augmentation(2, seed=2)
    first = one(x)
    assert np.array_equal(first, same(x))
    assert not np.array_equal(first, other(x))
    assert not np.array_equal(first, one(x))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Augmentation(shift=-1), ValueError, "shift must be finite and 0 or more, got -1"),
        (lambda: Augmentation(rotation=200), ValueError, "rotation must be from 0 to 180, got 200"),
        (lambda: Augmentation(shift="far"), TypeError, "shift must be a number, got 'far'"),
        (lambda: Augmentation(seed=-1), ValueError, "seed must be 0 or more, got -1"),
        (lambda: Augmentation()(np.zeros((2, 3))), kernels.ShapeError, r"got shape \(2, 3\)"),
    ],
)
def test_refused_arguments(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()
