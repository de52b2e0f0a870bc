"""The named cases: one table for tests and benchmarks.

``small`` cases are for the oracle: tiny, and chosen so that each branch of a kernel is taken. The
others are layers of real networks, at the batch size they are timed at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


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

    @property
    def x_shape(self) -> tuple[int, int, int, int]:
        """(N, C, H, W)."""
        return (self.N, self.C, self.H, self.W)

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """(O, C / groups, KH, KW)."""
        return (self.O, self.C // self.groups, self.KH, self.KW)

    @property
    def window(self) -> dict[str, Any]:
        """Keyword arguments of ``kernels.conv2d``."""
        return dict(
            stride=self.stride, padding=self.padding, dilation=self.dilation, groups=self.groups
        )


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

    @property
    def x_shape(self) -> tuple[int, int, int, int]:
        """(N, C, H, W)."""
        return (self.N, self.C, self.H, self.W)

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


SMALL_CONVOLUTIONS = (
    ConvCase("one-element", 1, 1, 1, 1, 1, 1, 1),
    ConvCase("1x1", 2, 3, 4, 5, 7, 1, 1),
    ConvCase("3x3", 2, 3, 6, 5, 4, 3, 3),
    ConvCase("3x3-pad1", 2, 2, 6, 5, 3, 3, 3, padding=1),
    ConvCase("window-is-image", 2, 3, 4, 3, 5, 4, 3),
    ConvCase("pad-beyond-image", 1, 2, 2, 2, 3, 3, 3, padding=4),
    ConvCase("stride2", 2, 2, 7, 6, 3, 3, 3, stride=2, padding=1),
    ConvCase("stride-over-kernel", 1, 2, 9, 8, 3, 2, 1, stride=(4, 3)),
    ConvCase("stride-leaves-rest", 1, 2, 8, 7, 2, 3, 3, stride=3),
    ConvCase("rectangular", 1, 2, 5, 7, 3, 2, 3, stride=(2, 1), padding=(1, 0)),
    ConvCase("row-kernel", 1, 2, 3, 8, 2, 1, 5, padding=(0, 2)),
    ConvCase("channels-16-32", 1, 16, 4, 4, 32, 3, 3, padding=1),
    ConvCase("channels-17-33", 1, 17, 3, 3, 33, 2, 2),
    ConvCase("channels-1-16", 2, 1, 6, 6, 16, 3, 3, padding=1),
    ConvCase("many-pixels", 1, 1, 17, 9, 2, 3, 3, padding=1),
    ConvCase("empty-batch", 0, 2, 4, 4, 3, 3, 3, padding=1),
    ConvCase("dilation", 1, 2, 8, 9, 3, 3, 2, dilation=(2, 3), padding=2),
    ConvCase("dilation-stride", 1, 2, 9, 8, 3, 3, 3, dilation=2, stride=(2, 3), padding=1),
    ConvCase("groups", 2, 4, 5, 5, 6, 3, 3, padding=1, groups=2),
    ConvCase("depthwise", 1, 5, 6, 5, 5, 3, 3, stride=2, padding=1, groups=5),
    ConvCase("asymmetric-padding", 1, 2, 5, 6, 3, 3, 3, padding=((0, 2), (1, 0)), stride=2),
)

SMALL_POOLS = (
    PoolCase("one-element", 1, 1, 1, 1, 1),
    PoolCase("2x2", 2, 3, 6, 4, 2),
    PoolCase("2x2-leaves-rest", 2, 2, 7, 5, 2),
    PoolCase("overlapping", 2, 3, 7, 6, 3, stride=2, padding=1),
    PoolCase("stride1", 1, 2, 5, 5, 3, stride=1, padding=1),
    PoolCase("rectangular", 1, 2, 5, 8, (1, 3), stride=(2, 1)),
    PoolCase("channels-17", 1, 17, 4, 4, 2),
    PoolCase("padding-over-half", 1, 2, 5, 5, 3, stride=2, padding=2),
    PoolCase("dilation", 1, 2, 9, 8, 3, stride=1, padding=(3, 2), dilation=(2, 1)),
    PoolCase("ceil", 1, 2, 6, 8, 3, stride=2, padding=1, ceil_mode=True),
    PoolCase("empty-batch", 0, 2, 4, 4, 2),
)

MNIST_CONVOLUTIONS = (
    ConvCase("mnist-conv1-b32", 32, 1, 28, 28, 16, 3, 3, padding=1),
    ConvCase("mnist-conv2-b32", 32, 16, 28, 28, 32, 3, 3, padding=1),
)

BATCH_NORM_SHAPES = ((2, 1), (5, 3), (9, 17), (3, 2, 7), (2, 3, 4, 5), (4, 33, 3, 2), (700, 16))

LINEAR_SIZES = ((1, 1, 1), (2, 3, 5), (7, 33, 17), (33, 5, 130), (0, 4, 3))
"""(N, I, O)."""
