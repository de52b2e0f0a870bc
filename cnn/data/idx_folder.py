"""Data sets in four IDX files, as MNIST and its relatives are published."""

from __future__ import annotations

from importlib.resources.abc import Traversable

import numpy as np

from cnn.arrays import AnyArray
from cnn.data.dataset import Dataset, Split
from cnn.data.errors import DataError
from cnn.data.idx import read_idx
from cnn.scaling import Scaling

SCALING = Scaling(255.0)
FIRST_FILE = "train-images-idx3-ubyte"
ENDINGS = ("", ".gz")


def holds_idx(folder: Traversable) -> bool:
    """Tell whether a folder has such files."""
    return any((folder / f"{FIRST_FILE}{ending}").is_file() for ending in ENDINGS)


def idx_folder(
    folder: Traversable, name: str | None = None, class_names: tuple[str, ...] | None = None
) -> Dataset:
    """Read ``train-`` and ``t10k-images-idx3-ubyte`` and ``-labels-idx1-ubyte``, plain or ``.gz``.

    Parameters
    ----------
    folder : importlib.resources.abc.Traversable
        What holds the four files; a ``pathlib.Path``, say.
    name : str, optional
        The data set's name; the folder's path if left out.
    class_names : tuple of str, optional
        What the classes are called; their numbers if left out.

    Raises
    ------
    DataError
        If a file is missing, damaged or does not fit the others.
    """
    train, test = _split(folder, "train"), _split(folder, "t10k")
    if train.x.shape[1:] != test.x.shape[1:]:
        raise DataError(
            f"{folder}: training and test images must have one size, "
            f"got {train.x.shape[2:]} and {test.x.shape[2:]}"
        )
    if class_names is None:
        class_names = tuple(str(label) for label in range(1 + max(train.y.max(), test.y.max())))
    for prefix, split in (("train", train), ("t10k", test)):
        if split.y.max() >= len(class_names):
            raise DataError(
                f"{_file(folder, prefix, 'labels-idx1')}: labels must be from 0 to "
                f"{len(class_names) - 1}, got {split.y.max()}"
            )
    return Dataset(str(folder) if name is None else name, train, test, class_names, SCALING)


def _split(folder: Traversable, prefix: str) -> Split:
    image_file, label_file = (_file(folder, prefix, k) for k in ("images-idx3", "labels-idx1"))
    images, labels = _array(image_file, 3), _array(label_file, 1)
    if len(images) != len(labels):
        raise DataError(
            f"{label_file}: must hold {len(images)} labels, one for each image of "
            f"{image_file.name}; got {len(labels)}"
        )
    if not images.size:
        raise DataError(f"{image_file}: must hold images, got shape {images.shape}")
    return Split(SCALING.apply(images[:, np.newaxis]), labels.astype(np.int64))


def _array(file: Traversable, ndim: int) -> AnyArray:
    array = read_idx(file)
    if array.ndim != ndim or array.dtype != np.uint8:
        raise DataError(
            f"{file}: must hold uint8 in {ndim} dimensions, got {array.dtype} in {array.ndim}"
        )
    return array


def _file(folder: Traversable, prefix: str, kind: str) -> Traversable:
    """Return the plain file if it is there, else the compressed one."""
    plain, compressed = (folder / f"{prefix}-{kind}-ubyte{ending}" for ending in ENDINGS)
    return plain if plain.is_file() else compressed
