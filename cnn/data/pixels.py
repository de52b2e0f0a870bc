"""From arrays of pixels and labels, wherever they were read, to a data set."""

from __future__ import annotations

import numpy as np

from cnn.arrays import AnyArray
from cnn.data.dataset import Dataset, Split
from cnn.data.errors import DataError
from cnn.scaling import Scaling

CHANNELS = (1, 3, 4)


def images_of(name: str, pixels: AnyArray) -> tuple[AnyArray, float]:
    """Return pixels as (N, C, H, W), and their largest possible value.

    Parameters
    ----------
    name : str
        Where they are from, for messages.
    pixels : array
        (N, H, W), (N, H, W, C) or (N, C, H, W) with 1, 3 or 4 channels, uint8 or in [0, 1]. Where
        both of the latter are possible, channels are last.

    Raises
    ------
    DataError
        If they are something else.
    """
    if pixels.ndim == 3:
        pixels = pixels[:, np.newaxis]
    elif pixels.ndim == 4 and pixels.shape[3] in CHANNELS:
        pixels = pixels.transpose(0, 3, 1, 2)
    elif pixels.ndim != 4 or pixels.shape[1] not in CHANNELS:
        raise DataError(
            f"{name}: images must be (N, H, W), (N, H, W, C) or (N, C, H, W) with 1, 3 or 4 "
            f"channels C, got shape {pixels.shape}"
        )
    if pixels.size == 0:
        raise DataError(f"{name}: there must be images, got shape {pixels.shape}")
    if pixels.dtype == np.uint8:
        return pixels, 255.0
    if pixels.dtype.kind != "f":
        raise DataError(f"{name}: images must be of uint8 or floats, got {pixels.dtype}")
    low, high = pixels.min(), pixels.max()
    if not (low >= 0 and high <= 1):  # false for NaN too
        raise DataError(f"{name}: floats must be from 0 to 1, got {low:g} to {high:g}")
    return pixels, 1.0


def labels_of(name: str, labels: AnyArray, images: int) -> AnyArray:
    """Return labels as (N,) int64.

    Raises
    ------
    DataError
        If they are not that many integers from 0 up, (N,) or (N, 1).
    """
    if labels.dtype.kind not in "iu":
        raise DataError(f"{name}: labels must be integers, got {labels.dtype}")
    if labels.shape not in ((images,), (images, 1)):
        raise DataError(f"{name}: must hold {images} labels, got shape {labels.shape}")
    if labels.min() < 0:
        raise DataError(f"{name}: labels must be 0 or more, got {labels.min()}")
    return labels.reshape(-1).astype(np.int64)


def dataset_of(
    name: str,
    train: tuple[AnyArray, AnyArray],
    test: tuple[AnyArray, AnyArray],
    divisor: float,
    class_names: tuple[str, ...] | None = None,
) -> Dataset:
    """Put checked images and labels together.

    Raises
    ------
    DataError
        If training and test images have different sizes, or a label has no name.
    """
    if train[0].shape[1:] != test[0].shape[1:]:
        raise DataError(
            f"{name}: training and test images must have one shape (C, H, W), "
            f"got {train[0].shape[1:]} and {test[0].shape[1:]}"
        )
    classes = 1 + max(int(train[1].max()), int(test[1].max()))
    names = tuple(map(str, range(classes))) if class_names is None else class_names
    if classes > len(names):
        raise DataError(f"{name}: labels must be from 0 to {len(names) - 1}, got {classes - 1}")
    scaling = Scaling(divisor)
    first, second = (Split(scaling.apply(x), y) for x, y in (train, test))
    return Dataset(name, first, second, names, scaling)
