"""Whole networks, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

import kernels
from cnn.arrays import float_dtype
from cnn.layers import (
    Architecture,
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Flatten,
    Linear,
    MaxPool2d,
    ReLU,
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
    C, H, W = _image_shape(input_shape)
    num_classes = checks.integer("num_classes", num_classes, 1)
    seed = checks.integer("seed", seed, 0)
    element = float_dtype(dtype)
    kwargs = {
        "input_shape": [C, H, W],
        "num_classes": num_classes,
        "seed": seed,
        "dtype": element.name,
    }
    rng = np.random.default_rng(seed)
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
        architecture=Architecture("mnist_cnn", kwargs),
    )


MODELS: dict[str, Callable[..., Sequential]] = {"mnist_cnn": mnist_cnn}


def create(name: str, **kwargs: Any) -> Sequential:
    """Build the model of that name with its function's arguments.

    Raises
    ------
    ValueError, TypeError
        If there is no such model (the message lists those there are) or an argument does not fit.
    """
    return lookup("model", MODELS, name)(**kwargs)


def _image_shape(input_shape: Sequence[int]) -> tuple[int, int, int]:
    if not isinstance(input_shape, tuple | list) or len(input_shape) != 3:
        raise kernels.ShapeError(f"input_shape must be (C, H, W), got {input_shape!r}")
    C, H, W = (
        checks.integer(f"input_shape[{i}]", size, smallest)
        for i, (size, smallest) in enumerate(zip(input_shape, (1, 2, 2), strict=True))
    )
    return C, H, W
