"""Networks in which layers meet in every way that the fusion pass tells apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import cnn

IMAGE = (2, 8, 8)
CLASSES = 3


class Square(cnn.Layer):
    """A layer that only its author knows; its gradient may be a view of what it was given."""

    def forward(self, x: np.ndarray, *, training: bool) -> np.ndarray:
        self.x = x
        return x**2

    def backward(self, grad_y: np.ndarray) -> np.ndarray:
        return 2 * self.x * grad_y


class Passing(cnn.Layer):
    """Returns views of what it is given, both ways."""

    def forward(self, x: np.ndarray, *, training: bool) -> np.ndarray:
        return x[:]

    def backward(self, grad_y: np.ndarray) -> np.ndarray:
        return grad_y[:]


class Make:
    """Makes layers of one dtype, with weights from one generator."""

    def __init__(self, dtype: str) -> None:
        self.keywords: dict[str, Any] = {"rng": np.random.default_rng(0), "dtype": dtype}
        self.dtype = dtype

    def conv(self, inputs: int, outputs: int, size: int = 3, **window: Any) -> cnn.Conv2d:
        return cnn.Conv2d(
            inputs, outputs, size, **({"padding": size // 2} | window), **self.keywords
        )

    def norm(self, channels: int) -> cnn.BatchNorm2d:
        return cnn.BatchNorm2d(channels, dtype=self.dtype)

    def head(self, channels: int) -> list[cnn.Layer]:
        linear = cnn.Linear(channels, CLASSES, **self.keywords)
        return [cnn.GlobalAvgPool2d(), cnn.Flatten(), linear]

    def linear(self, inputs: int, outputs: int, **settings: Any) -> cnn.Linear:
        return cnn.Linear(inputs, outputs, **settings, **self.keywords)


def plain_chain(m: Make) -> list[cnn.Layer]:
    """Convolution, batch-norm, ReLU and pooling in a row, in more than one order."""
    return [
        *(m.conv(2, 4), m.norm(4), cnn.ReLU(), cnn.MaxPool2d(2)),
        *(m.conv(4, 4, bias=False), m.norm(4), cnn.MaxPool2d(2, 1, 1), cnn.ReLU()),
        *(m.conv(4, 6), cnn.ReLU(), m.norm(6), m.conv(6, 4), cnn.MaxPool2d(3, 2)),
        *(cnn.Flatten(), m.linear(16, 6), cnn.BatchNorm1d(6, dtype=m.dtype), cnn.ReLU()),
        m.linear(6, CLASSES, bias=False),
    ]


def windows(m: Make) -> list[cnn.Layer]:
    """Strides, dilation, groups; a pool whose windows are too large for a byte; ReLU twice."""
    return [
        *(m.conv(2, 4, stride=2), m.norm(4), cnn.ReLU(), cnn.ReLU()),
        *(m.conv(4, 4, groups=4), m.norm(4), cnn.ReLU(), m.conv(4, 6, dilation=2, groups=2)),
        *(cnn.ReLU(), cnn.MaxPool2d(17, 1, 16), m.conv(6, 4), *m.head(4)),
    ]


def depthwise(m: Make) -> list[cnn.Layer]:
    """Depthwise convolutions that read an image, one another, through batch-norm, or a sum."""
    block = cnn.Sequential(
        *(m.conv(4, 6, 1, bias=False), m.norm(6), cnn.ReLU()),
        *(m.conv(6, 6, groups=6, bias=False), m.norm(6), cnn.ReLU(), m.conv(6, 4, 1), m.norm(4)),
    )
    return [
        *(m.conv(2, 2, groups=2), m.conv(2, 2, 2, groups=2, padding=1), m.conv(2, 4), m.norm(4)),
        *(cnn.ReLU(), cnn.Residual(block), m.conv(4, 4, groups=4, stride=2), m.norm(4)),
        *(cnn.ReLU(), cnn.MaxPool2d(2), m.conv(4, 4, groups=4), *m.head(4)),
    ]


def residuals(m: Make) -> list[cnn.Layer]:
    """Shortcuts of all kinds, and what may follow an addition."""
    body = cnn.Sequential(m.conv(4, 4), m.norm(4), cnn.ReLU(), m.conv(4, 4), m.norm(4))
    ends_in_relu = cnn.Sequential(m.conv(4, 4), m.norm(4), cnn.ReLU())
    inner = cnn.Residual(cnn.Sequential(m.conv(4, 4), m.norm(4)))
    down = cnn.Sequential(m.conv(4, 6, stride=2), m.norm(6))
    return [
        *(m.conv(2, 4), m.norm(4), cnn.ReLU(), cnn.Residual(body), cnn.ReLU()),
        *(cnn.Residual(ends_in_relu), cnn.Residual(cnn.Sequential(inner, cnn.ReLU()))),
        *(cnn.ReLU(), cnn.Residual(down, cnn.PaddedShortcut(4, 6, 2)), cnn.MaxPool2d(2)),
        cnn.Residual(
            cnn.Sequential(m.conv(6, 4), m.norm(4)),
            cnn.Sequential(m.conv(6, 4, 1), m.norm(4)),
        ),
        *(cnn.ReLU(), *m.head(4)),
    ]


def before_activation(m: Make) -> list[cnn.Layer]:
    """Residual blocks that start with batch-norm and ReLU; an addition that is pooled."""
    first = cnn.Sequential(m.norm(4), cnn.ReLU(), m.conv(4, 4))
    second = cnn.Sequential(cnn.ReLU(), m.conv(4, 4))
    third = cnn.Sequential(m.conv(4, 4), m.norm(4))
    return [
        *(m.conv(2, 4), cnn.Residual(first), cnn.Residual(second)),
        *(cnn.Residual(third, cnn.MaxPool2d(3, 1, 1)), cnn.ReLU(), cnn.MaxPool2d(2)),
        cnn.Residual(cnn.Sequential(cnn.PaddedShortcut(4, 4)), cnn.PaddedShortcut(4, 4)),
        cnn.Residual(cnn.MaxPool2d(3, 1, 1)),
        *(m.norm(4), cnn.ReLU(), *m.head(4)),
    ]


def two_convolutions_added(m: Make) -> list[cnn.Layer]:
    """The sum of two batch-norms, through ReLU and pooling."""
    one, other = (cnn.Sequential(m.conv(4, 6), m.norm(6)) for _ in range(2))
    block = cnn.Residual(one, other)
    return [m.conv(2, 4), cnn.AvgPool2d(2), block, cnn.ReLU(), cnn.MaxPool2d(2), *m.head(6)]


def strangers(m: Make) -> list[cnn.Layer]:
    """Layers that run by themselves, between others."""
    return [
        *(Passing(), m.conv(2, 4), m.norm(4), Square(), Passing(), m.conv(4, 4), m.norm(4)),
        *(cnn.ReLU(), cnn.Dropout(0.3, rng=5), Passing(), m.conv(4, 4), Square()),
        *(cnn.AvgPool2d(2), Passing(), cnn.Flatten(), m.linear(64, 8), cnn.Dropout(0.2, rng=6)),
        *(cnn.Softmax(), Passing(), m.linear(8, CLASSES), Passing()),
    ]


def strangers_first(m: Make) -> list[cnn.Layer]:
    """Layers that allocate what they return, and no gradient goes back to."""
    return [cnn.Dropout(0.3, rng=5), Square(), m.conv(2, 4), m.norm(4), cnn.ReLU(), *m.head(4)]


def no_batch_norm(m: Make) -> list[cnn.Layer]:
    """A convolution's values, pooled and flattened, whose gradient nobody sums."""
    return [m.conv(2, 4), cnn.ReLU(), cnn.MaxPool2d(2), cnn.Flatten(), m.linear(64, CLASSES)]


def pooled_convolutions(m: Make) -> list[cnn.Layer]:
    """Pooling behind a convolution, with batch-norm before it, behind it, and read by a sum."""
    inner = cnn.Sequential(m.conv(4, 4), m.norm(4))
    return [
        *(m.conv(2, 4), m.norm(4), cnn.ReLU(), cnn.MaxPool2d(2), m.conv(4, 4), m.norm(4)),
        *(cnn.MaxPool2d((2, 1)), cnn.Residual(inner), cnn.ReLU(), m.conv(4, 4)),
        *(cnn.MaxPool2d((1, 2)), m.norm(4), cnn.ReLU(), m.conv(4, 6), cnn.MaxPool2d(2)),
        *(cnn.Flatten(), m.linear(6, CLASSES)),
    ]


def pooled_twice(m: Make) -> list[cnn.Layer]:
    """Two poolings in a row; a convolution whose output is pooled and read as it is."""
    around = cnn.Residual(cnn.Sequential(cnn.MaxPool2d(1), cnn.ReLU()))
    return [
        *(m.conv(2, 4), m.norm(4), cnn.ReLU(), cnn.MaxPool2d(2), cnn.MaxPool2d(2)),
        *(m.conv(4, 4), around, m.conv(4, 4), cnn.MaxPool2d(2), cnn.ReLU(), *m.head(4)),
    ]


def no_convolution(m: Make) -> list[cnn.Layer]:
    """Nothing but linear layers, behind layers that no parameter comes before."""
    return [
        *(cnn.MaxPool2d(2), cnn.ReLU(), cnn.AvgPool2d(2), cnn.Flatten(), m.linear(8, 5)),
        *(cnn.ReLU(), m.linear(5, CLASSES)),
    ]


NETWORKS: dict[str, Callable[[Make], list[cnn.Layer]]] = {
    function.__name__: function
    for function in (
        plain_chain,
        windows,
        depthwise,
        residuals,
        before_activation,
        two_convolutions_added,
        strangers,
        strangers_first,
        no_batch_norm,
        pooled_convolutions,
        pooled_twice,
        no_convolution,
    )
}


def build(name: str, dtype: str = "float64") -> tuple[cnn.Sequential, tuple[int, ...]]:
    """Return one of these networks, or one of ``cnn.models`` for small images, and its images."""
    if name in NETWORKS:
        model, image = cnn.Sequential(*NETWORKS[name](Make(dtype))), IMAGE
    else:
        image = {"mnist_cnn": (1, 6, 6), "lenet5": (1, 12, 12), "resnet20": (3, 8, 8)}[name]
        model = cnn.models.create(name, input_shape=image, num_classes=CLASSES, dtype=dtype)
    rng = np.random.default_rng(1)
    for name, parameter in model.named_parameters().items():
        parameter.data += 0.1 * rng.standard_normal(parameter.data.shape).astype(dtype)
        if name.endswith("weight") and parameter.data.ndim == 1:  # batch-norm's: of both signs
            parameter.data[1::3] *= -1
    return model, image


def batch(image: tuple[int, ...], images: int = 5, seed: int = 2) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((images, *image)), rng.integers(0, CLASSES, images)
