"""Data sets in NumPy archives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cnn

KERAS = ("x_train", "y_train", "x_test", "y_test")
MEDMNIST = ("train_images", "train_labels", "test_images", "test_labels")


def contents(**changed: Any) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        "x_train": rng.integers(0, 256, (6, 4, 5), np.uint8),
        "y_train": np.array([0, 1, 2, 0, 1, 2], np.uint8),
        "x_test": rng.integers(0, 256, (3, 4, 5), np.uint8),
        "y_test": np.array([2, 1, 0], np.uint8),
    } | changed


def loaded(path: Path, arrays: dict[str, Any]) -> cnn.data.Dataset:
    np.savez(path, **arrays)
    return cnn.data.load(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data.npz"


def test_keras_names(path: Path) -> None:
    arrays = contents()
    data = loaded(path, arrays)
    assert data.name == str(path)
    assert data.input_shape == (1, 4, 5)
    assert data.class_names == ("0", "1", "2")
    assert data.scaling == cnn.Scaling(255)
    assert data.train.x == pytest.approx(arrays["x_train"][:, np.newaxis] / 255)
    assert (data.test.y.dtype, data.test.y.tolist()) == (np.int64, [2, 1, 0])


def test_medmnist_names_and_labels_in_a_column(path: Path) -> None:
    arrays = contents(y_train=np.arange(6)[:, np.newaxis] % 3)
    renamed = {new: arrays[old] for old, new in zip(KERAS, MEDMNIST, strict=True)}
    data = loaded(path, renamed | {"val_images": arrays["x_test"]})
    assert data.train.y.tolist() == [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((4, 5, 3), (3, 4, 5)),
        ((3, 4, 5), (3, 4, 5)),
        ((3, 9, 3), (3, 3, 9)),
        ((1, 6, 6), (1, 6, 6)),
    ],
)
def test_channels_first_and_last(path: Path, shape: Any, expected: Any) -> None:
    data = loaded(path, contents(x_train=np.zeros((6, *shape)), x_test=np.zeros((3, *shape))))
    assert data.input_shape == expected
    assert data.scaling == cnn.Scaling(1)


def test_class_names(path: Path) -> None:
    assert loaded(path, contents(class_names=["cat", "dog", "ß"])).class_names == (
        "cat",
        "dog",
        "ß",
    )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"x_train": np.zeros((6, 20))},
            r"x_train: images must be .*got shape \(6, 20\)",
        ),
        ({"x_train": np.zeros((6, 2, 4, 5))}, r"1, 3 or 4 channels C, got shape \(6, 2, 4, 5\)"),
        ({"x_train": np.zeros((0, 4, 5))}, r"there must be images, got shape \(0, 1, 4, 5\)"),
        ({"x_train": np.zeros((6, 4, 5), int)}, "must be of uint8 or floats, got int64"),
        ({"x_train": np.full((6, 4, 5), 2.0)}, "floats must be from 0 to 1, got 2 to 2"),
        ({"x_train": np.full((6, 4, 5), np.nan)}, "floats must be from 0 to 1, got nan to nan"),
        ({"x_train": np.zeros((6, 4, 5))}, "must be of one type, got float64, uint8"),
        ({"x_test": np.zeros((3, 5, 5), np.uint8)}, r"one shape .*\(1, 4, 5\) and \(1, 5, 5\)"),
        ({"y_train": np.zeros(6)}, "y_train: labels must be integers, got float64"),
        ({"y_train": np.zeros(5, int)}, r"must hold 6 labels, got shape \(5,\)"),
        ({"y_test": np.array([0, -1, 0])}, "y_test: labels must be 0 or more, got -1"),
        ({"class_names": ["a", "b"]}, "labels must be from 0 to 1, got 2"),
        ({"y_train": np.array([{}] * 6)}, "not a whole .npz archive of plain arrays"),
    ],
)
def test_arrays_that_do_not_fit(path: Path, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(cnn.data.DataError, match=message) as caught:
        loaded(path, contents(**changed))
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_other_names(path: Path) -> None:
    with pytest.raises(cnn.data.DataError, match=r"must hold x_train, .*; it holds nothing"):
        loaded(path, {"images": np.zeros(3)})
    with pytest.raises(cnn.data.DataError, match="it holds x_train"):
        loaded(path, {"x_train": np.zeros(3)})


def test_damaged_archives(path: Path) -> None:
    loaded(path, contents())
    whole = path.read_bytes()
    for length in (0, 1, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(cnn.data.DataError, match=r"not a whole \.npz archive"):
            cnn.data.load(path)
    np.save(path.with_suffix(".npy"), np.zeros(3))
    path.with_suffix(".npy").replace(path)
    with pytest.raises(cnn.data.DataError, match="it is a single array"):
        cnn.data.load(path)
