"""What a sliding window looks at: sizes, strides, paddings, dilations and the output size.

Made once per call by ``kernels.ops`` from validated arguments, read by every backend. The
dataclasses are frozen, so a backend can cache what it derives from one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


def output_size(
    size: int,
    kernel: int,
    stride: int = 1,
    dilation: int = 1,
    before: int = 0,
    after: int = 0,
    ceil_mode: bool = False,
) -> int:
    """Number of window positions on one axis; below 1 when the window does not fit.

    ``floor((size + before + after - dilation * (kernel - 1) - 1) / stride) + 1``: relation 14 of
    Dumoulin & Visin, "A guide to convolution arithmetic for deep learning" (arXiv:1603.07285).
    ``ceil_mode`` rounds up, but drops a last window that would start in the padding at the end.
    """
    room = size + before + after - dilation * (kernel - 1) - 1
    if not ceil_mode:
        return room // stride + 1
    outputs = -(-room // stride) + 1
    return outputs - 1 if (outputs - 1) * stride >= size + before else outputs


@dataclass(frozen=True, slots=True)
class Axis:
    """A window sliding along one spatial axis.

    Attributes
    ----------
    size : int
        Elements of the unpadded input.
    kernel : int
        Taps of the window.
    stride, dilation : int
        Steps between windows, and between the taps of one window.
    before, after : int
        Padding at the two ends.
    outputs : int
        Window positions.
    """

    size: int
    kernel: int
    stride: int
    dilation: int
    before: int
    after: int
    outputs: int

    @property
    def span(self) -> int:
        """Elements from a window's first tap to its last, both included."""
        return self.dilation * (self.kernel - 1) + 1

    @property
    def apart(self) -> bool:
        """Whether windows share no element, and none reaches over an end."""
        inside = self.before == 0 and (self.outputs - 1) * self.stride + self.span <= self.size
        return inside and self.span <= self.stride


@dataclass(frozen=True, slots=True)
class ConvGeometry:
    """A 2-D convolution: N images of C channels to O channels in ``groups`` groups."""

    batch: int
    channels: int
    out_channels: int
    groups: int
    height: Axis
    width: Axis

    @property
    def x_shape(self) -> tuple[int, int, int, int]:
        """(N, C, H, W)."""
        return (self.batch, self.channels, self.height.size, self.width.size)

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """(O, C / groups, KH, KW)."""
        in_group = self.channels // self.groups
        return (self.out_channels, in_group, self.height.kernel, self.width.kernel)

    @property
    def y_shape(self) -> tuple[int, int, int, int]:
        """(N, O, OH, OW)."""
        return (self.batch, self.out_channels, self.height.outputs, self.width.outputs)

    @property
    def multiply_adds(self) -> int:
        """Of the direct algorithm, those with padding too."""
        return math.prod(self.y_shape) * math.prod(self.weight_shape[1:])


@dataclass(frozen=True, slots=True)
class PoolGeometry:
    """A 2-D pooling window over N images of C channels."""

    batch: int
    channels: int
    height: Axis
    width: Axis

    @property
    def y_shape(self) -> tuple[int, int, int, int]:
        """(N, C, OH, OW)."""
        return (self.batch, self.channels, self.height.outputs, self.width.outputs)

    @property
    def apart(self) -> bool:
        """Whether windows share no value, and none reaches over an edge."""
        return self.height.apart and self.width.apart
