"""Gradient clipping."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from cnn.optim.base import positive
from cnn.parameter import Parameter

EPS = 1e-6
"""Added to the norm that the limit is divided by, as in PyTorch."""


def clip_grad_norm(parameters: Iterable[Parameter], max_norm: float) -> float:
    """Scale all gradients in place so that their norm, taken together, is at most ``max_norm``.

    ``g *= min(1, max_norm / (norm + 1e-6))`` (Pascanu, Mikolov & Bengio, arXiv:1211.5063). The
    squares are summed in float64, in an order that no number of threads changes.

    Parameters
    ----------
    parameters : iterable of Parameter
        Those without a gradient are passed over.
    max_norm : float
        The limit: finite and above 0.

    Returns
    -------
    float
        The norm before.

    Raises
    ------
    ValueError, TypeError
        If the limit does not fit.
    """
    limit = positive("max_norm", max_norm)
    grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = [grad.reshape(-1) for grad in grads]
    norm = math.sqrt(sum(float(np.einsum("i,i", g, g, dtype=np.float64)) for g in flat))
    scale = limit / (norm + EPS)
    if not scale >= 1:  # true of NaN too, which has to stay visible
        for grad in grads:
            grad *= scale
    return norm
