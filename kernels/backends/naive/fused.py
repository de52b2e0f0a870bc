"""The fused operations: the plain ones one after the other, all of it in float64."""

from __future__ import annotations

import numpy as np

from kernels.backends.composition import Composition
from kernels.backends.naive import (
    activation,
    convolution,
    dense,
    loss,
    memory,
    normalization,
    pooling,
)

_composition = Composition(
    memory, convolution, pooling, normalization, activation, dense, loss, np.float64
)

conv_forward = _composition.conv_forward
conv_backward = _composition.conv_backward
join_forward = _composition.join_forward
join_backward = _composition.join_backward
norm_forward = _composition.norm_forward
norm_backward = _composition.norm_backward
norm_track = _composition.norm_track
linear_update = _composition.linear_update
cross_entropy = _composition.cross_entropy
elementwise = _composition.elementwise
