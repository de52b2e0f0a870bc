"""The MNIST subset that comes with the package; mnist-subset/README.md says where it is from."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable

import numpy as np

from cnn.data.dataset import Dataset, Split
from cnn.data.errors import DataError
from cnn.data.idx import read_idx
from cnn.scaling import Scaling

CLASS_NAMES = tuple("0123456789")
SCALING = Scaling(255.0)


def mnist_subset(folder: Traversable | None = None) -> Dataset:
    """Read 5,000 training and 1,000 test digits of 28×28 pixels.

    Parameters
    ----------
    folder : importlib.resources.abc.Traversable, optional
        A folder of the same four files (a ``pathlib.Path``, say) instead of the package's own.

    Raises
    ------
    DataError
        If a file is missing, damaged or does not fit the others.
    """
    source = files("cnn.data") / "mnist-subset" if folder is None else folder
    train, test = _split(source, "train"), _split(source, "t10k")
    if train.x.shape[1:] != test.x.shape[1:]:
        raise DataError(
            f"{source}: training and test images must have one size, "
            f"got {train.x.shape[2:]} and {test.x.shape[2:]}"
        )
    return Dataset("mnist-subset", train, test, CLASS_NAMES, SCALING)


def _split(folder: Traversable, prefix: str) -> Split:
    image_file = folder / f"{prefix}-images-idx3-ubyte.gz"
    label_file = folder / f"{prefix}-labels-idx1-ubyte.gz"
    images, labels = read_idx(image_file), read_idx(label_file)
    for path, array, ndim in ((image_file, images, 3), (label_file, labels, 1)):
        if array.ndim != ndim or array.dtype != np.uint8:
            raise DataError(
                f"{path}: must hold uint8 in {ndim} dimensions, got {array.dtype} in {array.ndim}"
            )
    if len(images) != len(labels):
        raise DataError(
            f"{label_file}: must hold {len(images)} labels, one for each image of "
            f"{image_file.name}; got {len(labels)}"
        )
    if labels.size and labels.max() >= len(CLASS_NAMES):
        raise DataError(
            f"{label_file}: labels must be from 0 to {len(CLASS_NAMES) - 1}, got {labels.max()}"
        )
    return Split(SCALING.apply(images[:, np.newaxis]), labels.astype(np.int64))
