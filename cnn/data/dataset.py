"""What a data set holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnn.arrays import FloatArray
from cnn.scaling import Scaling


class Split(NamedTuple):
    """Images and their classes.

    Attributes
    ----------
    x : (N, C, H, W) array of float32
        Images, scaled to [0, 1].
    y : (N,) array of int64
        Classes, counted from 0.
    """

    x: FloatArray
    y: NDArray[np.int64]


@dataclass(frozen=True)
class Dataset:
    """Labelled images to train on and to test on.

    Attributes
    ----------
    name : str
        As :func:`cnn.data.load` knows it.
    train, test : Split
        ``(x, y)``.
    class_names : tuple of str
        What the classes 0, 1, ... are called.
    scaling : Scaling
        How raw pixels became ``x``.
    """

    name: str
    train: Split
    test: Split
    class_names: tuple[str, ...]
    scaling: Scaling

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(C, H, W) of one image."""
        return self.train.x.shape[1:]
