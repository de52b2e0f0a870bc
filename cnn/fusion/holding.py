"""What a capture holds on to and a user may replace: layers' arrays, and settings in kernels."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import attrgetter

from cnn.layers import Conv2d, Linear
from cnn.layers.normalization import BatchNorm

Holder = Conv2d | Linear | BatchNorm


def holding(layer: Holder, *, gradients: bool) -> Callable[[], tuple[object, ...]]:
    """Return what looks a layer's things up, or raises an AttributeError if one is gone.

    Each look-up counts: a prediction for one image takes 75 µs.
    """
    names = ["weight.data", "bias" if layer.bias is None else "bias.data"]
    if gradients:
        names += ["weight", "weight.data.flags.writeable"]
    if isinstance(layer, BatchNorm):
        names += ["running_mean", "running_var", "eps"]
        names += ["num_batches_tracked", "momentum"]
    if gradients:
        names += ["weight.grad"] if layer.bias is None else ["weight.grad", "bias.grad"]
    return partial(attrgetter(*names), layer)
