"""The data sets: their content, and damaged copies of their files."""

from __future__ import annotations

import gzip
import hashlib
import shutil
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cnn
from cnn.data.mnist import mnist_subset

SHA256 = {
    "t10k-images": "90147cd64d7780e427f656fc4f409a1af4a596f709f1a232112e16cec27607df",
    "t10k-labels": "6626ff0c0605bebdade15f60fa3bbe7e96102b05ec6ac29d64d7f6285ed9095a",
    "train-images": "3e797bc30c5e1547405d8926e5283954163e4cd51ba8565e3dbfe8c166db7e1a",
    "train-labels": "df0fdec1440045a98111fbaab6475855a4b3aaec01e012543057171fc9e074bf",
}
TRAIN_CLASSES = [479, 563, 488, 493, 535, 434, 501, 550, 462, 495]
TEST_CLASSES = [113, 108, 93, 115, 88, 80, 107, 101, 89, 106]


def test_the_files_are_the_documented_ones_with_their_licence_note() -> None:
    folder = files("cnn.data") / "mnist-subset"
    for name, digest in SHA256.items():
        (file,) = (file for file in folder.iterdir() if file.name.startswith(name))
        assert hashlib.sha256(file.read_bytes()).hexdigest() == digest
    assert "CC BY-SA 3.0" in (folder / "README.md").read_text()


def test_mnist_subset() -> None:
    data = cnn.data.load("mnist-subset")
    assert data.name == "mnist-subset"
    assert data.input_shape == (1, 28, 28)
    assert data.class_names == tuple("0123456789")
    assert data.scaling == cnn.Scaling(255)
    for (x, y), images in ((data.train, 5000), (data.test, 1000)):
        assert (x.shape, x.dtype) == ((images, 1, 28, 28), np.float32)
        assert (y.shape, y.dtype) == ((images,), np.int64)
        assert (x.min(), x.max()) == (0, 1)
        assert np.array_equal(x * 255, (x * 255).round())
    assert data.train.y[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert np.bincount(data.train.y).tolist() == TRAIN_CLASSES
    assert np.bincount(data.test.y).tolist() == TEST_CLASSES


def test_digits_are_split_stratified_and_always_alike() -> None:
    data = cnn.data.load("digits")
    assert data.input_shape == (1, 8, 8)
    assert (len(data.train.x), len(data.test.x)) == (1437, 360)
    assert data.train.x.dtype == np.float32
    assert (data.train.x.min(), data.train.x.max()) == (0, 1)
    assert data.scaling == cnn.Scaling(16)
    shares = np.bincount(data.test.y) / np.bincount(np.concatenate([data.train.y, data.test.y]))
    assert shares == pytest.approx(np.full(10, 0.2), abs=0.01)
    again = cnn.data.load("digits")
    assert np.array_equal(again.test.x, data.test.x)


def test_unknown_name() -> None:
    message = (
        "dataset must be one of 'mnist-subset', 'digits', 'mnist', 'fashion-mnist', "
        "or the path of a folder or a .npz file; got 'cifar10'"
    )
    with pytest.raises(ValueError, match=message):
        cnn.data.load("cifar10")


def test_a_validation_split_is_stratified_seeded_and_apart() -> None:
    data = cnn.data.load("digits")
    data.train.x[:, 0, 0, 0] = np.arange(1437)  # marks each image
    split = data.with_validation(0.1, seed=3)
    assert split.validation is not None
    assert (len(split.train.y), len(split.validation.y)) == (1295, 142)
    shares = np.bincount(split.validation.y) / np.bincount(data.train.y)
    assert shares == pytest.approx(np.full(10, 0.1), abs=0.005)
    marks = [part.x[:, 0, 0, 0].astype(int).tolist() for part in (split.train, split.validation)]
    assert sorted(marks[0] + marks[1]) == list(range(1437))
    assert np.array_equal(data.train.y[marks[1]], split.validation.y)
    assert split.test is data.test
    again, other = data.with_validation(0.1, seed=3), data.with_validation(0.1, seed=4)
    assert again.validation is not None
    assert other.validation is not None
    assert np.array_equal(again.validation.x, split.validation.x)
    assert not np.array_equal(other.validation.x, split.validation.x)


@pytest.mark.parametrize(
    ("share", "error", "message"),
    [
        (0, ValueError, "validation must be between 0 and 1, got 0"),
        (1.0, ValueError, "validation must be between 0 and 1, got 1.0"),
        ("some", TypeError, "validation must be a number, got 'some'"),
        (1e-6, ValueError, "leaves 1437 of 1437 images to train on and 0 to select by"),
        (1 - 1e-6, ValueError, "leaves 0 of 1437 images to train on"),
    ],
)
def test_refused_validation_splits(share: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        cnn.data.load("digits").with_validation(share)


def test_normalisation_takes_the_figures_of_the_training_images() -> None:
    data = cnn.data.load("digits").with_validation(0.2)
    data.train.x[:, :, 0] = 0.5  # pixels that never change stay finite
    moved = data.normalized()
    assert moved.train.x.mean() == pytest.approx(0, abs=1e-5)
    assert moved.train.x.std() == pytest.approx(1, abs=1e-5)
    assert moved.train.x.dtype == np.float32
    mean, std = moved.scaling.mean, moved.scaling.std
    assert mean == pytest.approx([data.train.x.mean()])
    assert std == pytest.approx([data.train.x.std()])
    assert moved.validation is not None
    assert data.validation is not None
    for one, other in ((moved.test, data.test), (moved.validation, data.validation)):
        assert one.x == pytest.approx((other.x - mean[0]) / std[0], abs=1e-5)
        assert moved.scaling.brightness(one.x) == pytest.approx(other.x, abs=1e-6)
    raw = (data.test.x * 16).round()
    assert moved.scaling.apply(raw) == pytest.approx(moved.test.x, abs=1e-5)


def test_normalisation_is_by_channel() -> None:
    x = np.ones((4, 2, 3, 3), np.float32)
    x[::2, 0] = 0
    split = cnn.data.Split(x, np.arange(4))
    data = cnn.data.Dataset("two", split, split, tuple("abcd"), cnn.Scaling(1)).normalized()
    assert data.scaling.mean == (0.5, 1.0)
    assert data.scaling.std == (0.5, 0.001)
    assert np.array_equal(data.train.x[:2, :, 0, 0], [[-1, 0], [1, 0]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mean": (0.0,)}, "mean and std belong together"),
        ({"mean": (0.0,), "std": (1.0, 1.0)}, "mean and std must be as many"),
        ({"mean": (), "std": ()}, "mean and std must be as many"),
        ({"mean": (float("nan"),), "std": (1.0,)}, "mean must be finite"),
        ({"mean": (0.0,), "std": (0.0,)}, "std must be finite and above 0"),
    ],
)
def test_refused_normalisation(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cnn.Scaling(255, **arguments)


@pytest.mark.parametrize("divisor", [0.0, -1.0, float("nan"), float("inf")])
def test_scaling_needs_a_divisor(divisor: float) -> None:
    with pytest.raises(ValueError, match="divisor must be finite and above 0"):
        cnn.Scaling(divisor)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of four tiny files: three training digits and two test digits of 2×2 pixels."""
    for prefix, labels in (("train", [0, 9, 4]), ("t10k", [1, 2])):
        images = bytes(range(4 * len(labels)))
        sizes = bytes([0, 0, 0, len(labels)]) + bytes([0, 0, 0, 2]) * 2
        write(tmp_path / f"{prefix}-images-idx3-ubyte.gz", b"\0\0\x08\x03" + sizes + images)
        sizes = bytes([0, 0, 0, len(labels)])
        write(tmp_path / f"{prefix}-labels-idx1-ubyte.gz", b"\0\0\x08\x01" + sizes + bytes(labels))
    return tmp_path


def write(path: Path, content: bytes) -> None:
    path.write_bytes(gzip.compress(content))


def test_any_folder_of_such_files_loads(folder: Path) -> None:
    data = cnn.data.load(folder)
    assert data.name == str(folder)
    assert data.class_names == tuple("0123456789")
    assert data.train.y.tolist() == [0, 9, 4]
    assert data.test.x[1, 0] * 255 == pytest.approx(np.array([[4, 5], [6, 7]]))


def test_plain_files_load_as_well(folder: Path) -> None:
    expected = cnn.data.load(str(folder))
    for file in list(folder.iterdir()):
        file.with_suffix("").write_bytes(gzip.decompress(file.read_bytes()))
        file.unlink()
    data = cnn.data.load(str(folder))
    assert np.array_equal(data.train.x, expected.train.x)
    assert np.array_equal(data.test.y, expected.test.y)


def test_a_path_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "data.txt").write_text("")
    with pytest.raises(cnn.data.DataError, match=r"data.txt: must be a .npz file or a folder"):
        cnn.data.load(tmp_path / "data.txt")
    with pytest.raises(cnn.data.DataError, match=r"none.npz: cannot be read \(No such file"):
        cnn.data.load(tmp_path / "none.npz")


def swap(folder: Path) -> None:
    shutil.copy(folder / "t10k-labels-idx1-ubyte.gz", folder / "train-labels-idx1-ubyte.gz")


def labels_for_images(folder: Path) -> None:
    shutil.copy(folder / "train-labels-idx1-ubyte.gz", folder / "train-images-idx3-ubyte.gz")


def label_ten(folder: Path) -> None:
    write(folder / "t10k-labels-idx1-ubyte.gz", b"\0\0\x08\x01\0\0\0\2\0\x0a")


def signed_labels(folder: Path) -> None:
    write(folder / "t10k-labels-idx1-ubyte.gz", b"\0\0\x09\x01\0\0\0\2\0\1")


def no_images(folder: Path) -> None:
    sizes = bytes(4) + bytes([0, 0, 0, 2]) * 2
    write(folder / "t10k-images-idx3-ubyte.gz", b"\0\0\x08\x03" + sizes)
    write(folder / "t10k-labels-idx1-ubyte.gz", b"\0\0\x08\x01" + bytes(4))


def larger_images(folder: Path) -> None:
    content = b"\0\0\x08\x03" + bytes([0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3]) + bytes(12)
    write(folder / "t10k-images-idx3-ubyte.gz", content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (no_images, r"t10k-images-idx3-ubyte.gz: must hold images, got shape \(0, 2, 2\)"),
        (swap, "train-labels-idx1-ubyte.gz: must hold 3 labels, one for each image of .*; got 2"),
        (labels_for_images, "train-images-idx3-ubyte.gz: must hold uint8 in 3 dimensions, got"),
        (label_ten, "t10k-labels-idx1-ubyte.gz: labels must be from 0 to 9, got 10"),
        (signed_labels, "t10k-labels-idx1-ubyte.gz: must hold uint8 in 1 dimensions, got int8"),
        (larger_images, r"must have one size, got \(2, 2\) and \(2, 3\)"),
        (lambda folder: (folder / "t10k-images-idx3-ubyte.gz").unlink(), "No such file"),
    ],
)
def test_files_that_do_not_fit(folder: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(folder)
    with pytest.raises(cnn.data.DataError, match=message) as caught:
        mnist_subset(folder)
    assert "\n" not in str(caught.value)
