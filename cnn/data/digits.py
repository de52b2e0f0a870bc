"""scikit-learn's handwritten digits: small enough for the naive backend."""

from __future__ import annotations

import numpy as np

from cnn.arrays import AnyArray
from cnn.data.dataset import Dataset, Split
from cnn.scaling import Scaling

TEST_IMAGES = 360
SCALING = Scaling(16.0)


def sklearn_digits() -> Dataset:
    """Load 1,437 training and 360 test digits of 8×8 pixels, split stratified and always alike.

    Test set of "Optical Recognition of Handwritten Digits" (E. Alpaydin and C. Kaynak, UCI
    Machine Learning Repository, 1998), as scikit-learn carries it.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(
        images.reshape(-1, 1, 8, 8), labels, test_size=TEST_IMAGES, random_state=0, stratify=labels
    )
    return Dataset(
        "digits", _split(x_train, y_train), _split(x_test, y_test), tuple("0123456789"), SCALING
    )


def _split(pixels: AnyArray, labels: AnyArray) -> Split:
    return Split(SCALING.apply(pixels), labels.astype(np.int64))
