"""Between NumPy and PyTorch: PyTorch always computes in float64, on the values under test.

So that float32 results are judged by what is right, not by PyTorch's own rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch


def leaf(value: Any) -> Any:
    """Return a float array or tensor as a float64 tensor that takes a gradient."""
    if value is None:
        return None
    tensor = value.detach() if torch.is_tensor(value) else torch.from_numpy(np.array(value))
    return tensor.to(torch.float64, copy=True).requires_grad_()


def array(value: Any) -> Any:
    """Return a tensor as an array, with its strides; anything else as it is."""
    return value.detach().numpy() if torch.is_tensor(value) else value


def rounded(values: Sequence[Any], dtype: Any) -> tuple[Any, ...]:
    """Return float64 tensors as arrays of the dtype under test, other results as they are."""
    return tuple(
        array(v).astype(dtype) if torch.is_tensor(v) and v.is_floating_point() else array(v)
        for v in values
    )


def gradients(y: Any, leaves: Sequence[Any], grad_y: Any) -> tuple[Any, ...]:
    """Return the gradient of each leaf, None where there is no leaf."""
    there = [tensor for tensor in leaves if tensor is not None]
    found = iter(torch.autograd.grad(y, there, torch.from_numpy(np.array(grad_y, np.float64))))
    return tuple(None if tensor is None else next(found) for tensor in leaves)
