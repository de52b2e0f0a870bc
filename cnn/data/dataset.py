"""What a data set holds, and how it is normalised and split."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import kernels
from cnn.arrays import FloatArray
from cnn.optim.base import real
from cnn.scaling import Scaling

SMALLEST_DEVIATION = 1e-3
"""Of a channel; one that is the same everywhere is only shifted."""


class Split(NamedTuple):
    """Images and their classes.

    Attributes
    ----------
    x : (N, C, H, W) array of float32
        Images, scaled to [0, 1] unless they are normalised.
    y : (N,) array of int64
        Classes, counted from 0.
    """

    x: FloatArray
    y: NDArray[np.int64]


@dataclass(frozen=True)
class Dataset:
    """Labelled images to train on, to select by if there are such, and to test on.

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
    validation : Split or None
        What :meth:`with_validation` took from the training images.
    """

    name: str
    train: Split
    test: Split
    class_names: tuple[str, ...]
    scaling: Scaling
    validation: Split | None = None

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(C, H, W) of one image."""
        return self.train.x.shape[1:]

    def with_validation(self, share: float, seed: int = 0) -> Dataset:
        """Return the data set with a share of the training images set aside to select by.

        Each class gives its share; which images they are depends on the seed alone. Whatever
        chooses (early stopping, the best checkpoint, you between two recipes) looks at these, so
        that the test images stay unseen.

        Parameters
        ----------
        share : float
            Between 0 and 1.
        seed : int
            Of the choice.

        Raises
        ------
        kernels.ShapeError, TypeError
            If the share does not fit, or leaves a part empty.
        """
        if not 0 < real("validation", share) < 1:
            raise kernels.ShapeError(f"validation must be between 0 and 1, got {share!r}")
        chosen = stratified(self.train.y, share, np.random.default_rng(seed))
        kept = np.setdiff1d(np.arange(len(self.train.y)), chosen)
        if not len(chosen) or len(kept) < 2:
            raise kernels.ShapeError(
                f"validation {share!r} leaves {len(kept)} of {len(self.train.y)} images to train "
                f"on and {len(chosen)} to select by"
            )
        x, y = self.train
        return replace(self, train=Split(x[kept], y[kept]), validation=Split(x[chosen], y[chosen]))

    def normalized(self) -> Dataset:
        """Return the data set with mean 0 and deviation 1 in each channel of the training images.

        The other images are moved alike. A model file keeps the figures in its scaling.
        """
        axes = (0, 2, 3)
        mean = self.train.x.mean(axes, dtype=np.float64)
        std = np.maximum(self.train.x.std(axes, dtype=np.float64), SMALLEST_DEVIATION)
        scaling = replace(self.scaling, mean=tuple(mean.tolist()), std=tuple(std.tolist()))
        shift = Scaling(1.0, scaling.mean, scaling.std)

        def moved(split: Split) -> Split:
            return Split(shift.apply(split.x), split.y)

        validation = None if self.validation is None else moved(self.validation)
        return replace(
            self,
            train=moved(self.train),
            test=moved(self.test),
            validation=validation,
            scaling=scaling,
        )


def stratified(y: NDArray[np.int64], share: float, rng: np.random.Generator) -> NDArray[np.intp]:
    """Draw a share of the images of each class; return their numbers in ascending order."""
    chosen = []
    for label in np.unique(y):
        members = rng.permutation(np.flatnonzero(y == label))
        chosen.append(members[: round(share * len(members))])
    return np.sort(np.concatenate(chosen))
