"""The fused operations: joins in one pass, convolutions out of plain operations so far."""

from __future__ import annotations

from kernels.backends.composition import Composition
from kernels.backends.numba import activation, convolution, memory, normalization, pooling
from kernels.backends.numba.joining import join_backward, join_forward

_composition = Composition(memory, convolution, pooling, normalization, activation)

conv_forward = _composition.conv_forward
conv_backward = _composition.conv_backward

__all__ = ["conv_backward", "conv_forward", "join_backward", "join_forward"]
