"""Layers: parameters and state around the operations of :mod:`kernels`.

A layer's ``forward(x, training=True)`` keeps what its ``backward(grad_y)`` needs; backward sets
the gradients of the layer's parameters and returns that of its input. Layers choose no backend:
they run on the current one (``kernels.use_backend``).
"""

from cnn.layers.activation import ReLU, Softmax
from cnn.layers.base import Layer
from cnn.layers.composite import Composite
from cnn.layers.container import Architecture, Sequential
from cnn.layers.convolution import Conv2d
from cnn.layers.dense import Flatten, Linear
from cnn.layers.dropout import Dropout
from cnn.layers.normalization import BatchNorm1d, BatchNorm2d
from cnn.layers.pooling import AvgPool2d, GlobalAvgPool2d, MaxPool2d
from cnn.layers.residual import PaddedShortcut, Residual

__all__ = [
    "Architecture",
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "Composite",
    "Conv2d",
    "Dropout",
    "Flatten",
    "GlobalAvgPool2d",
    "Layer",
    "Linear",
    "MaxPool2d",
    "PaddedShortcut",
    "ReLU",
    "Residual",
    "Sequential",
    "Softmax",
]
