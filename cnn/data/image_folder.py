"""Data sets in folders of images, one folder for each class."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cnn.arrays import AnyArray
from cnn.data.dataset import Dataset, stratified
from cnn.data.errors import DataError
from cnn.data.pixels import dataset_of, images_of

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
TEST_SHARE = 0.2
EIGHT_BITS = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB"}


def image_folder(folder: Path) -> Dataset:
    """Read images, all of one size, from ``train/CLASS/*`` and ``test/CLASS/*``.

    Where there are no folders ``train`` and ``test`` but only ``CLASS/*``, a fifth of each class's
    images becomes the test set, always the same ones. Classes are in alphabetical order. Images
    are grey if all of them are, else RGB.

    Parameters
    ----------
    folder : pathlib.Path
        What holds the folders.

    Raises
    ------
    DataError
        If an image cannot be read or is of another size, or no class or image is found.
    """
    divided = (folder / "train").is_dir() and (folder / "test").is_dir()
    classes = _classes(folder / "train" if divided else folder)
    if not divided:
        pixels, y = _read(folder, classes)
        chosen = stratified(y, TEST_SHARE, np.random.default_rng(0))
        kept = np.setdiff1d(np.arange(len(y)), chosen)
        if not len(chosen):
            raise DataError(
                f"{folder}: a fifth of each class's images is to be the test set, "
                "but no class has enough of them"
            )
        train, test = (pixels[kept], y[kept]), (pixels[chosen], y[chosen])
    else:
        if (found := _classes(folder / "test")) != classes:
            raise DataError(
                f"{folder}: train and test must have the same classes, "
                f"got {', '.join(classes)} and {', '.join(found)}"
            )
        train, test = _read(folder / "train", classes), _read(folder / "test", classes)
    if train[0].shape[3] != test[0].shape[3]:  # one of them is grey
        train, test = _coloured(train), _coloured(test)
    x_train, divisor = images_of(str(folder), train[0])
    x_test, _ = images_of(str(folder), test[0])
    return dataset_of(str(folder), (x_train, train[1]), (x_test, test[1]), divisor, classes)


def _classes(folder: Path) -> tuple[str, ...]:
    classes = tuple(sorted(each.name for each in folder.iterdir() if _has_images(each)))
    if len(classes) < 2:
        raise DataError(f"{folder}: must hold a folder of images for each of 2 or more classes")
    return classes


def _has_images(folder: Path) -> bool:
    return folder.is_dir() and any(file.suffix.lower() in SUFFIXES for file in folder.iterdir())


def _read(folder: Path, classes: tuple[str, ...]) -> tuple[AnyArray, AnyArray]:
    """Return (N, H, W, C) uint8 and (N,) int64."""
    images, labels = [], []
    for label, name in enumerate(classes):
        files = sorted(f for f in (folder / name).iterdir() if f.suffix.lower() in SUFFIXES)
        for file in files:
            images.append(_image(file))
            labels.append(label)
            if images[-1].shape[:2] != images[0].shape[:2]:
                raise DataError(
                    f"{file}: all images must have one size; it is "
                    f"{_size(images[-1])}, the first is {_size(images[0])}"
                )
    coloured = max(image.shape[2] for image in images)
    stacked = np.stack([np.broadcast_to(i, (*i.shape[:2], coloured)) for i in images])
    return stacked, np.array(labels, np.int64)


def _image(file: Path) -> AnyArray:
    from PIL import Image

    try:
        with Image.open(file) as image:
            if image.mode not in EIGHT_BITS:
                raise DataError(f"{file}: must have 8 bits a channel, but its mode is {image.mode}")
            grey = image.mode in ("1", "L", "LA")
            pixels = np.asarray(image.convert("L" if grey else "RGB"))
    except DataError:
        raise
    except Exception as error:  # damage shows as anything from SyntaxError to a bomb's
        raise DataError(f"{file}: cannot be read as an image ({error})") from error
    return pixels[:, :, np.newaxis] if grey else pixels


def _coloured(split: tuple[AnyArray, AnyArray]) -> tuple[AnyArray, AnyArray]:
    x, y = split
    return np.broadcast_to(x, (*x.shape[:3], 3)), y


def _size(image: AnyArray) -> str:
    return f"{image.shape[1]}×{image.shape[0]}"
