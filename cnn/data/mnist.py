"""The MNIST subset that comes with the package; mnist-subset/README.md says where it is from."""

from __future__ import annotations

from importlib.resources import files

from cnn.data.dataset import Dataset
from cnn.data.idx_folder import idx_folder

CLASS_NAMES = tuple("0123456789")


def mnist_subset() -> Dataset:
    """Read 5,000 training and 1,000 test digits of 28×28 pixels.

    Raises
    ------
    DataError
        If a file is missing or damaged.
    """
    return idx_folder(files("cnn.data") / "mnist-subset", "mnist-subset", CLASS_NAMES)
