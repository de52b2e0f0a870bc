"""MNIST and Fashion-MNIST in full, from OpenML, by scikit-learn's client and with a cache."""

from __future__ import annotations

import logging
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np

from cnn.arrays import AnyArray
from cnn.data.dataset import Dataset
from cnn.data.errors import DataError
from cnn.data.npz import npz_file
from cnn.files import remove_leftovers, replacing

LOG = logging.getLogger(__name__)
TIMEOUT = 60.0
"""Seconds of silence after which a connection counts as lost; scikit-learn sets no limit."""


@dataclass(frozen=True, slots=True)
class Source:
    """A data set on OpenML, of square grey images.

    Attributes
    ----------
    data_id : int
        Its number there, which names one version.
    train_images, test_images : int
        The first rows and the last rows.
    side : int
        Pixels.
    class_names : tuple of str
        What the classes are called.
    """

    data_id: int
    class_names: tuple[str, ...]
    train_images: int = 60_000
    test_images: int = 10_000
    side: int = 28


SOURCES = {
    "mnist": Source(554, tuple("0123456789")),
    "fashion-mnist": Source(
        40_996,
        (
            *("T-shirt/top", "trouser", "pullover", "dress", "coat"),
            *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
        ),
    ),
}


def openml(name: str) -> Dataset:
    """Load a data set of :data:`SOURCES`, from the cache if it is there.

    It is kept twice in scikit-learn's data folder (``sklearn.datasets.get_data_home()``): as
    downloaded, and as an archive that is read in a moment, ``cnn-kernels/NAME.npz``.

    Raises
    ------
    DataError
        If it cannot be downloaded or is not what it should be; the message says what to do.
    """
    from sklearn.datasets import get_data_home

    source = SOURCES[name]
    home = Path(get_data_home())
    cached = home / "cnn-kernels" / f"{name}.npz"
    if not cached.is_file():
        pixels, labels = _checked(name, source, *_fetched(name, source, home))
        _keep(cached, pixels, labels, source)
    try:
        data = npz_file(cached)
    except DataError as error:
        raise DataError(f"{error}; delete the file, and it is downloaded again") from error
    shapes = (data.train.x.shape, data.test.x.shape)
    wanted = tuple(
        (n, 1, source.side, source.side) for n in (source.train_images, source.test_images)
    )
    if shapes != wanted:
        raise DataError(f"{cached}: must hold images {wanted}, got {shapes}; delete it")
    return Dataset(name, data.train, data.test, source.class_names, data.scaling)


def _fetched(name: str, source: Source, home: Path) -> tuple[AnyArray, AnyArray]:
    from sklearn.datasets import fetch_openml

    LOG.info(
        "%s: downloading %d images from OpenML to %s, once; unpacking them takes a while",
        *(name, source.train_images + source.test_images, home),
    )
    try:
        with _limited_silence(), _warnings_logged():
            found = fetch_openml(
                data_id=source.data_id,
                data_home=str(home),
                as_frame=False,
                parser="liac-arff",  # the other one needs pandas
            )
    except (OSError, HTTPException, ValueError, KeyError) as error:
        reason = str(error) or type(error).__name__
        raise DataError(
            f"{name}: cannot be downloaded from OpenML ({reason}). Try again later; or train on "
            "'mnist-subset', which comes with the package; or get the four IDX files elsewhere "
            "and give their folder instead of the name"
        ) from error
    return found.data, found.target


def _checked(
    name: str, source: Source, pixels: AnyArray, labels: AnyArray
) -> tuple[AnyArray, AnyArray]:
    """Return (N, H, W) uint8 and (N,) uint8, once they are known to be what they should be."""
    images = source.train_images + source.test_images
    wanted = (images, source.side**2)
    if pixels.shape != wanted or labels.shape != (images,):
        raise DataError(
            f"{name}: OpenML's data must be {wanted} pixels and {images} labels, "
            f"got {pixels.shape} and {labels.shape}"
        )
    numbers = np.array([str(label) for label in labels])
    known = [str(label) for label in range(len(source.class_names))]
    rounded = pixels.astype(np.uint8)
    if not np.isin(numbers, known).all() or not np.array_equal(rounded, pixels):
        raise DataError(
            f"{name}: OpenML's data must have labels from 0 to {known[-1]} and pixels from 0 to "
            f"255, got labels {sorted(set(numbers))[:12]} and pixels from {pixels.min():g} to "
            f"{pixels.max():g}"
        )
    return rounded.reshape(images, source.side, source.side), numbers.astype(np.uint8)


def _keep(path: Path, pixels: AnyArray, labels: AnyArray, source: Source) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path)
    first = source.train_images
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            x_train=pixels[:first],
            y_train=labels[:first],
            x_test=pixels[first:],
            y_test=labels[first:],
        )


@contextmanager
def _limited_silence() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT if before is None else before)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


@contextmanager
def _warnings_logged() -> Iterator[None]:
    """Turn scikit-learn's warnings, of a lost connection say, into notes."""

    def note(message: Warning | str, *_: Any, **__: Any) -> None:
        LOG.info("%s", message)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = note
        yield
