"""The data sets: their content, and damaged copies of their files."""

from __future__ import annotations

import gzip
import hashlib
import shutil
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

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
    message = "dataset must be one of 'mnist-subset', 'digits'; got 'cifar10'"
    with pytest.raises(ValueError, match=message):
        cnn.data.load("cifar10")


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
    data = mnist_subset(folder)
    assert data.train.y.tolist() == [0, 9, 4]
    assert data.test.x[1, 0] * 255 == pytest.approx(np.array([[4, 5], [6, 7]]))


def swap(folder: Path) -> None:
    shutil.copy(folder / "t10k-labels-idx1-ubyte.gz", folder / "train-labels-idx1-ubyte.gz")


def labels_for_images(folder: Path) -> None:
    shutil.copy(folder / "train-labels-idx1-ubyte.gz", folder / "train-images-idx3-ubyte.gz")


def label_ten(folder: Path) -> None:
    write(folder / "t10k-labels-idx1-ubyte.gz", b"\0\0\x08\x01\0\0\0\2\0\x0a")


def signed_labels(folder: Path) -> None:
    write(folder / "t10k-labels-idx1-ubyte.gz", b"\0\0\x09\x01\0\0\0\2\0\1")


def larger_images(folder: Path) -> None:
    content = b"\0\0\x08\x03" + bytes([0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3]) + bytes(12)
    write(folder / "t10k-images-idx3-ubyte.gz", content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
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
