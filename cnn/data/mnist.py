"""The MNIST subset that comes with the package; mnist-subset/README.md says where it is from."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable

from cnn.data.dataset import Dataset
from cnn.data.idx_folder import idx_folder

CLASS_NAMES = tuple("0123456789")


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
    return idx_folder(source, "mnist-subset", CLASS_NAMES)
