"""Finding a data set by its name or its path."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from cnn.data.dataset import Dataset
from cnn.data.digits import sklearn_digits
from cnn.data.errors import DataError
from cnn.data.idx_folder import holds_idx, idx_folder
from cnn.data.image_folder import image_folder
from cnn.data.mnist import mnist_subset
from cnn.data.npz import npz_file
from cnn.data.openml import openml

DATASETS: dict[str, Callable[[], Dataset]] = {
    "mnist-subset": mnist_subset,
    "digits": sklearn_digits,
    "mnist": partial(openml, "mnist"),
    "fashion-mnist": partial(openml, "fashion-mnist"),
}


def load(name: str | os.PathLike[str]) -> Dataset:
    """Load a data set.

    Parameters
    ----------
    name : str or os.PathLike
        - ``"mnist-subset"``: 6,000 of MNIST's digits, 28×28, in the package;
        - ``"digits"``: 1,797 digits, 8×8, from scikit-learn;
        - ``"mnist"``, ``"fashion-mnist"``: 70,000 images, 28×28, downloaded from OpenML once;
        - or a path: a folder of four IDX files, plain or ``.gz``; a ``.npz`` file
          (:func:`cnn.data.npz.npz_file`); or a folder of images by class
          (:func:`cnn.data.image_folder.image_folder`).

    Raises
    ------
    ValueError
        If there is neither a data set of that name nor such a path; the message lists the names.
    DataError
        If its files cannot be read.
    """
    if name in DATASETS:
        return DATASETS[str(name)]()
    path = Path(name)
    if path.is_dir():
        return idx_folder(path) if holds_idx(path) else image_folder(path)
    if path.suffix == ".npz":
        return npz_file(path)
    if path.exists():
        raise DataError(f"{path}: must be a .npz file or a folder")
    names = ", ".join(map(repr, DATASETS))
    raise ValueError(
        f"dataset must be one of {names}, or the path of a folder or a .npz file; got {name!r}"
    )
