"""Whole networks, by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

import kernels
from cnn.arrays import float_dtype
from cnn.layers import (
    Architecture,
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Flatten,
    GlobalAvgPool2d,
    Layer,
    Linear,
    MaxPool2d,
    PaddedShortcut,
    ReLU,
    Residual,
    Sequential,
)
from cnn.registry import lookup
from kernels.ops import checks


def mnist_cnn(
    input_shape: Sequence[int] = (1, 28, 28),
    num_classes: int = 10,
    seed: int = 0,
    dtype: DTypeLike = "float32",
) -> Sequential:
    """Two convolutions and two linear layers, all but the last batch-normalised: 809,386 weights.

    Conv2d 3×3 16, pad 1 → BatchNorm2d → ReLU → Conv2d 3×3 32, pad 1 → BatchNorm2d → ReLU →
    MaxPool2d 2 → Flatten → Linear 128 → BatchNorm1d → ReLU → Linear ``num_classes``. The outputs
    are logits: the softmax is in the loss and in ``predict_proba``.

    Parameters
    ----------
    input_shape : (C, H, W)
        One image; H and W are 2 or more.
    num_classes : int
        Outputs.
    seed : int
        Of the He-initialised weights; the same seed gives the same network.
    dtype : dtype
        float32 or float64.

    Returns
    -------
    Sequential
        Its state has the names of the same layers in PyTorch's ``nn.Sequential``.

    Raises
    ------
    kernels.ShapeError, TypeError
        If an argument does not fit.
    """
    C, H, W = _image_shape(input_shape, 2)
    architecture, rng, element = _start("mnist_cnn", (C, H, W), num_classes, seed, dtype)
    return Sequential(
        Conv2d(C, 16, 3, padding=1, rng=rng, dtype=element),
        BatchNorm2d(16, dtype=element),
        ReLU(),
        Conv2d(16, 32, 3, padding=1, rng=rng, dtype=element),
        BatchNorm2d(32, dtype=element),
        ReLU(),
        MaxPool2d(2),
        Flatten(),
        Linear(32 * (H // 2) * (W // 2), 128, rng=rng, dtype=element),
        BatchNorm1d(128, dtype=element),
        ReLU(),
        Linear(128, num_classes, rng=rng, dtype=element),
        architecture=architecture,
    )


def lenet5(
    input_shape: Sequence[int] = (1, 28, 28),
    num_classes: int = 10,
    seed: int = 0,
    dtype: DTypeLike = "float32",
) -> Sequential:
    """LeNet-5 as it is built today: 61,706 weights for 28×28 pixels of grey and 10 classes.

    Conv2d 5×5 6 → ReLU → AvgPool2d 2 → Conv2d 5×5 16 → ReLU → AvgPool2d 2 → Flatten → Linear 120 →
    ReLU → Linear 84 → ReLU → Linear ``num_classes``. LeCun, Bottou, Bengio & Haffner,
    "Gradient-based learning applied to document recognition" (1998), with ReLU instead of tanh,
    all channels connected, and a softmax. As there, 28×28 digits are padded to 32×32: images less
    than 32 pixels high or wide get 2 pixels of padding.

    Parameters
    ----------
    input_shape : (C, H, W)
        One image; H and W are 12 or more.
    num_classes, seed, dtype
        As for :func:`mnist_cnn`.

    Raises
    ------
    kernels.ShapeError, TypeError
        If an argument does not fit.
    """
    C, H, W = _image_shape(input_shape, 12)
    architecture, rng, element = _start("lenet5", (C, H, W), num_classes, seed, dtype)
    padding = 2 if min(H, W) < 32 else 0
    pixels = math.prod(((size + 2 * padding - 4) // 2 - 4) // 2 for size in (H, W))
    return Sequential(
        Conv2d(C, 6, 5, padding=padding, rng=rng, dtype=element),
        ReLU(),
        AvgPool2d(2),
        Conv2d(6, 16, 5, rng=rng, dtype=element),
        ReLU(),
        AvgPool2d(2),
        Flatten(),
        Linear(16 * pixels, 120, rng=rng, dtype=element),
        ReLU(),
        Linear(120, 84, rng=rng, dtype=element),
        ReLU(),
        Linear(84, num_classes, rng=rng, dtype=element),
        architecture=architecture,
    )


def resnet20(
    input_shape: Sequence[int] = (3, 32, 32),
    num_classes: int = 10,
    seed: int = 0,
    dtype: DTypeLike = "float32",
) -> Sequential:
    """ResNet-20 for small images: 269,722 weights for 32×32 pixels of colour and 10 classes.

    He, Zhang, Ren & Sun, arXiv:1512.03385, section 4.2: a 3×3 convolution, three stages of three
    residual blocks (two 3×3 convolutions each) with 16, 32 and 64 channels, global average and one
    linear layer. The shortcuts are the paper's for these networks, option A
    (:class:`cnn.PaddedShortcut`): they add no weights, so that a count of weights or a state can
    be compared with what is published.

    Parameters
    ----------
    input_shape : (C, H, W)
        One image.
    num_classes, seed, dtype
        As for :func:`mnist_cnn`.

    Raises
    ------
    kernels.ShapeError, TypeError
        If an argument does not fit.
    """
    C, H, W = _image_shape(input_shape, 1)
    architecture, rng, element = _start("resnet20", (C, H, W), num_classes, seed, dtype)
    blocks: list[Layer] = []
    for inputs, outputs in ((16, 16), (16, 32), (32, 64)):
        blocks += _residual_block(inputs, outputs, 1 if inputs == outputs else 2, rng, element)
        for _ in range(2):
            blocks += _residual_block(outputs, outputs, 1, rng, element)
    return Sequential(
        Conv2d(C, 16, 3, padding=1, bias=False, rng=rng, dtype=element),
        BatchNorm2d(16, dtype=element),
        ReLU(),
        *blocks,
        GlobalAvgPool2d(),
        Flatten(),
        Linear(64, num_classes, rng=rng, dtype=element),
        architecture=architecture,
    )


def _residual_block(
    inputs: int, outputs: int, stride: int, rng: np.random.Generator, dtype: np.dtype[Any]
) -> list[Layer]:
    body = Sequential(
        Conv2d(inputs, outputs, 3, stride, padding=1, bias=False, rng=rng, dtype=dtype),
        BatchNorm2d(outputs, dtype=dtype),
        ReLU(),
        Conv2d(outputs, outputs, 3, padding=1, bias=False, rng=rng, dtype=dtype),
        BatchNorm2d(outputs, dtype=dtype),
    )
    resized = (inputs, stride) != (outputs, 1)
    shortcut = PaddedShortcut(inputs, outputs, stride) if resized else None
    return [Residual(body, shortcut), ReLU()]


MODELS: dict[str, Callable[..., Sequential]] = {
    "mnist_cnn": mnist_cnn,
    "lenet5": lenet5,
    "resnet20": resnet20,
}


def create(name: str, **kwargs: Any) -> Sequential:
    """Build the model of that name with its function's arguments.

    Raises
    ------
    ValueError, TypeError
        If there is no such model (the message lists those there are) or an argument does not fit.
    """
    return lookup("model", MODELS, name)(**kwargs)


def _image_shape(input_shape: Sequence[int], least: int) -> tuple[int, int, int]:
    if not isinstance(input_shape, tuple | list) or len(input_shape) != 3:
        raise kernels.ShapeError(f"input_shape must be (C, H, W), got {input_shape!r}")
    C, H, W = (
        checks.integer(f"input_shape[{i}]", size, smallest)
        for i, (size, smallest) in enumerate(zip(input_shape, (1, least, least), strict=True))
    )
    return C, H, W


def _start(
    name: str, input_shape: tuple[int, int, int], num_classes: int, seed: int, dtype: DTypeLike
) -> tuple[Architecture, np.random.Generator, np.dtype[Any]]:
    """Check what all models take; return its description, source of weights and dtype."""
    num_classes = checks.integer("num_classes", num_classes, 1)
    seed = checks.integer("seed", seed, 0)
    element = float_dtype(dtype)
    kwargs = {
        "input_shape": list(input_shape),
        "num_classes": num_classes,
        "seed": seed,
        "dtype": element.name,
    }
    return Architecture(name, kwargs), np.random.default_rng(seed), element
