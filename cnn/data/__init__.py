"""Data sets, by name: ``load("mnist-subset").train`` is ``(x, y)``."""

from cnn.data.dataset import Dataset, Split
from cnn.data.errors import DataError
from cnn.data.idx import read_idx
from cnn.data.loading import DATASETS, load

__all__ = ["DATASETS", "DataError", "Dataset", "Split", "load", "read_idx"]
