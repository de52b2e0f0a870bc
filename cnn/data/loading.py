"""Finding a data set by its name."""

from __future__ import annotations

from collections.abc import Callable

from cnn.data.dataset import Dataset
from cnn.data.digits import sklearn_digits
from cnn.data.mnist import mnist_subset
from cnn.registry import lookup

DATASETS: dict[str, Callable[[], Dataset]] = {
    "mnist-subset": mnist_subset,
    "digits": sklearn_digits,
}


def load(name: str) -> Dataset:
    """Load a data set.

    Parameters
    ----------
    name : str
        ``"mnist-subset"`` (28×28, in the package) or ``"digits"`` (8×8, from scikit-learn).

    Raises
    ------
    ValueError
        If there is no data set of that name; the message lists those there are.
    DataError
        If its files cannot be read.
    """
    return lookup("dataset", DATASETS, name)()
