"""Data sets in one NumPy archive, as Keras and MedMNIST publish theirs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cnn.arrays import AnyArray
from cnn.data.dataset import Dataset
from cnn.data.errors import DataError
from cnn.data.pixels import dataset_of, images_of, labels_of

NAMES = (
    ("x_train", "y_train", "x_test", "y_test"),
    ("train_images", "train_labels", "test_images", "test_labels"),
)


def npz_file(path: Path) -> Dataset:
    """Read images and labels from a ``.npz`` file, which may hold names of the classes, too.

    Parameters
    ----------
    path : pathlib.Path
        The file. Its arrays are ``x_train, y_train, x_test, y_test`` or ``train_images,
        train_labels, test_images, test_labels``, and perhaps ``class_names``. Pickled objects are
        never read.

    Raises
    ------
    DataError
        If it cannot be read or does not hold that.
    """
    arrays = _arrays(path)
    names = next((names for names in NAMES if set(names) <= arrays.keys()), None)
    if names is None:
        wanted = " or ".join(", ".join(names) for names in NAMES)
        raise DataError(f"{path}: must hold {wanted}; it holds {', '.join(arrays) or 'nothing'}")
    x_train, y_train, x_test, y_test = (arrays[name] for name in names)
    train_images, divisor = images_of(f"{path}, {names[0]}", x_train)
    test_images, other = images_of(f"{path}, {names[2]}", x_test)
    if divisor != other:
        raise DataError(f"{path}: images must be of one type, got {x_train.dtype}, {x_test.dtype}")
    named = arrays.get("class_names")
    return dataset_of(
        str(path),
        (train_images, labels_of(f"{path}, {names[1]}", y_train, len(train_images))),
        (test_images, labels_of(f"{path}, {names[3]}", y_test, len(test_images))),
        divisor,
        None if named is None else tuple(str(name) for name in named.ravel()),
    )


def _arrays(path: Path) -> dict[str, AnyArray]:
    try:
        with path.open("rb") as opened:
            archive = np.load(opened, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ValueError("it is a single array")
            wanted = {name for names in NAMES for name in names} | {"class_names"}
            return {name: archive[name] for name in archive.files if name in wanted}
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    except Exception as error:  # damage shows as anything from zlib.error to tokenize.TokenError
        raise DataError(f"{path}: not a whole .npz archive of plain arrays ({error})") from error
