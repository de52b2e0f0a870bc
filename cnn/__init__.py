"""Convolutional networks on the CPU: layers, a trainer and data, on top of :mod:`kernels`.

>>> import cnn
>>> model = cnn.models.mnist_cnn(seed=0)
>>> data = cnn.data.load("mnist-subset")
>>> trainer = cnn.Trainer(model, optimizer=cnn.optim.SGD(lr=0.01), backend="numba")
>>> history = trainer.fit(data.train, data.test, epochs=3)  # doctest: +SKIP
"""

from cnn import callbacks, data, layers, models, optim
from cnn.checkpoint import CheckpointError
from cnn.environment import package_version
from cnn.errors import NonFiniteLossError
from cnn.fitting import Fit
from cnn.layers import (
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    Layer,
    Linear,
    MaxPool2d,
    PaddedShortcut,
    ReLU,
    Residual,
    Sequential,
    Softmax,
)
from cnn.monitoring import BatchProgress, EpochMetrics, Evaluation, Observer
from cnn.parameter import Parameter
from cnn.scaling import Scaling
from cnn.serialization import ModelFileError, load, save
from cnn.summary import summarize
from cnn.trainer import Trainer

__version__ = package_version()

__all__ = [
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchProgress",
    "CheckpointError",
    "Conv2d",
    "Dropout",
    "EpochMetrics",
    "Evaluation",
    "Fit",
    "Flatten",
    "GlobalAvgPool2d",
    "Layer",
    "Linear",
    "MaxPool2d",
    "ModelFileError",
    "NonFiniteLossError",
    "Observer",
    "PaddedShortcut",
    "Parameter",
    "ReLU",
    "Residual",
    "Scaling",
    "Sequential",
    "Softmax",
    "Trainer",
    "callbacks",
    "data",
    "layers",
    "load",
    "models",
    "optim",
    "save",
    "summarize",
]
