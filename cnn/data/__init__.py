"""Data sets, by name or path: ``load("mnist-subset").train`` is ``(x, y)``."""

from cnn.data.augmentation import Augmentation
from cnn.data.dataset import Dataset, Split
from cnn.data.errors import DataError
from cnn.data.idx import read_idx
from cnn.data.loading import DATASETS, load

__all__ = ["DATASETS", "Augmentation", "DataError", "Dataset", "Split", "load", "read_idx"]
