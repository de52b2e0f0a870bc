"""What a case is: shapes, the passes that can be timed, and the work of each.

FLOPs are those of the definition, a multiplication and an addition being two (a direct convolution,
taps on padding included), whatever algorithm computes it. Bytes are those that have to move:
each input read once, each result written once, in float32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kernels.geometry import output_size

FLOAT_BYTES = INDEX_BYTES = 4

FORWARD, BACKWARD, INFERENCE = "forward", "backward", "inference"
BACKWARD_INPUT, BACKWARD_WEIGHT = "backward_input", "backward_weight"
TRAINING_STEP = "training_step"
PASSES = (FORWARD, BACKWARD, BACKWARD_INPUT, BACKWARD_WEIGHT, INFERENCE, TRAINING_STEP)

Shape = tuple[int, ...]


@dataclass(frozen=True)
class ConvCase:
    """A convolution of N images (C, H, W) with O filters (C / groups, KH, KW)."""

    id: str
    N: int
    C: int
    H: int
    W: int
    O: int
    KH: int
    KW: int
    stride: int | tuple[int, int] = 1
    padding: Any = 0
    dilation: int | tuple[int, int] = 1
    groups: int = 1

    passes = (FORWARD, BACKWARD_INPUT, BACKWARD_WEIGHT)

    @property
    def x_shape(self) -> tuple[int, int, int, int]:
        """(N, C, H, W)."""
        return (self.N, self.C, self.H, self.W)

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """(O, C / groups, KH, KW)."""
        return (self.O, self.C // self.groups, self.KH, self.KW)

    @property
    def y_shape(self) -> tuple[int, int, int, int]:
        """(N, O, OH, OW); for a padding that is one or two integers."""
        return (self.N, self.O, *_outputs(self, (self.KH, self.KW), self.stride))

    @property
    def window(self) -> dict[str, Any]:
        """Keyword arguments of ``kernels.conv2d``."""
        return dict(
            stride=self.stride, padding=self.padding, dilation=self.dilation, groups=self.groups
        )

    def flops(self, name: str) -> int:
        """FLOPs of a pass: the three have the same."""
        return 2 * math.prod(self.y_shape) * math.prod(self.weight_shape[1:])

    def bytes(self, name: str) -> int:
        """Bytes of a pass: the three touch the same three arrays."""
        return _float_bytes(self.x_shape, self.weight_shape, self.y_shape)


@dataclass(frozen=True)
class PoolCase:
    """A max-pooling of N images (C, H, W)."""

    id: str
    N: int
    C: int
    H: int
    W: int
    kernel_size: int | tuple[int, int]
    stride: int | tuple[int, int] | None = None
    padding: int | tuple[int, int] = 0
    dilation: int | tuple[int, int] = 1
    ceil_mode: bool = False

    passes = (FORWARD, BACKWARD)

    @property
    def x_shape(self) -> tuple[int, int, int, int]:
        """(N, C, H, W)."""
        return (self.N, self.C, self.H, self.W)

    @property
    def y_shape(self) -> tuple[int, int, int, int]:
        """(N, C, OH, OW)."""
        stride = self.kernel_size if self.stride is None else self.stride
        return (self.N, self.C, *_outputs(self, pair(self.kernel_size), stride, self.ceil_mode))

    @property
    def window(self) -> dict[str, Any]:
        """Keyword arguments of ``kernels.max_pool2d``."""
        return dict(
            kernel_size=self.kernel_size,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            ceil_mode=self.ceil_mode,
        )

    def flops(self, name: str) -> int:
        """None: it compares and copies."""
        return 0

    def bytes(self, name: str) -> int:
        """Images, results and their int32 indices."""
        return _float_bytes(self.x_shape, self.y_shape) + INDEX_BYTES * math.prod(self.y_shape)


@dataclass(frozen=True)
class AvgPoolCase:
    """An average-pooling of N images (C, H, W); of whole planes without a ``kernel_size``."""

    id: str
    N: int
    C: int
    H: int
    W: int
    kernel_size: int | None = None

    passes = (FORWARD, BACKWARD)

    @property
    def x_shape(self) -> tuple[int, int, int, int]:
        """(N, C, H, W)."""
        return (self.N, self.C, self.H, self.W)

    @property
    def y_shape(self) -> tuple[int, int, int, int]:
        """(N, C, OH, OW)."""
        if self.kernel_size is None:
            return (self.N, self.C, 1, 1)
        return (self.N, self.C, self.H // self.kernel_size, self.W // self.kernel_size)

    def flops(self, name: str) -> int:
        """Not counted: memory sets the pace."""
        return 0

    def bytes(self, name: str) -> int:
        """Images and results."""
        return _float_bytes(self.x_shape, self.y_shape)


@dataclass(frozen=True)
class _SameShapeCase:
    """An operation whose result has the shape of its x."""

    id: str
    x_shape: Shape

    def flops(self, name: str) -> int:
        """Not counted: memory sets the pace."""
        return 0

    def bytes(self, name: str) -> int:
        """Read x, write y; backward reads grad_y and x, or y."""
        return _float_bytes(*[self.x_shape] * (3 if name == BACKWARD else 2))


@dataclass(frozen=True)
class BatchNormCase(_SameShapeCase):
    """A batch-norm over x of that shape, (N, C) or (N, C, H, W)."""

    passes = (FORWARD, BACKWARD, INFERENCE)


@dataclass(frozen=True)
class ReluCase(_SameShapeCase):
    """A ReLU over x of that shape."""

    passes = (FORWARD, BACKWARD)


@dataclass(frozen=True)
class LinearCase:
    """A linear layer of N rows, I inputs and O outputs."""

    id: str
    N: int
    I: int
    O: int

    passes = (FORWARD, BACKWARD)

    @property
    def x_shape(self) -> tuple[int, int]:
        """(N, I)."""
        return (self.N, self.I)

    def flops(self, name: str) -> int:
        """One product forward, two backward."""
        return (4 if name == BACKWARD else 2) * self.N * self.I * self.O

    def bytes(self, name: str) -> int:
        """All three arrays, and backward their gradients."""
        arrays = _float_bytes((self.N, self.I), (self.O, self.I), (self.N, self.O))
        return (2 if name == BACKWARD else 1) * arrays


@dataclass(frozen=True)
class NetworkCase:
    """A whole model of ``cnn.models`` on N images; ``layers`` are the cases its FLOPs come from."""

    id: str
    N: int
    model: str
    input_shape: tuple[int, int, int]
    layers: tuple[ConvCase | LinearCase, ...]
    passes: tuple[str, ...] = (TRAINING_STEP, INFERENCE)

    @property
    def x_shape(self) -> tuple[int, int, int, int]:
        """(N, C, H, W)."""
        return (self.N, *self.input_shape)

    def flops(self, name: str) -> int:
        """Those of convolutions and products; the images' own gradient is nobody's work."""
        first = self.layers[0]
        each = sum(layer.flops(FORWARD) / layer.N for layer in self.layers)
        if name == TRAINING_STEP:
            each = 3 * each - first.flops(BACKWARD_INPUT) / first.N
        return round(self.N * each)

    def bytes(self, name: str) -> int:
        """Images and labels in, nothing that has to come out: the compute roof is what counts."""
        return _float_bytes(self.x_shape, (self.N,))


Case = ConvCase | PoolCase | AvgPoolCase | BatchNormCase | ReluCase | LinearCase | NetworkCase


def pair(value: int | tuple[int, int]) -> tuple[int, int]:
    """Return (height, width) of what may be one number for both."""
    return (value, value) if isinstance(value, int) else value


def _outputs(
    case: ConvCase | PoolCase,
    kernel: tuple[int, int],
    stride: int | tuple[int, int],
    ceil_mode: bool = False,
) -> tuple[int, int]:
    sides = zip(
        (case.H, case.W),
        kernel,
        pair(stride),
        pair(case.dilation),
        pair(case.padding),
        strict=True,
    )
    height, width = (
        output_size(size, taps, step, dilation, pad, pad, ceil_mode)
        for size, taps, step, dilation, pad in sides
    )
    return height, width


def _float_bytes(*shapes: Sequence[int]) -> int:
    return FLOAT_BYTES * sum(math.prod(shape) for shape in shapes)
