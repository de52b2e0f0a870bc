"""From what a user writes (stride, padding, dilation) to the two axes of a window."""

from __future__ import annotations

from typing import Any

from kernels.errors import ShapeError
from kernels.geometry import Axis, ConvGeometry, output_size
from kernels.ops import checks
from kernels.ops.remembering import remembered

Padding = int | tuple[int, int] | tuple[tuple[int, int], tuple[int, int]] | str

PADDING_NAMES = ("valid", "same", "same_upper", "same_lower")


@remembered
def convolution(
    x_shape: tuple[int, ...],
    weight_shape: tuple[int, ...],
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
) -> ConvGeometry:
    """Return the geometry of ``kernels.conv2d``'s arguments, or raise what is wrong with them."""
    if len(x_shape) != 4:
        raise ShapeError(f"x must have 4 dimensions, got shape {x_shape}")
    if len(weight_shape) != 4:
        raise ShapeError(f"weight must have 4 dimensions, got shape {weight_shape}")
    N, C, H, W = x_shape
    O, in_group, KH, KW = weight_shape
    G = checks.integer("groups", groups, 1)
    if min(C, O) < 1:
        raise ShapeError(
            f"x and weight need 1 or more channels, got shapes {x_shape}, {weight_shape}"
        )
    if C % G or O % G:
        raise ShapeError(f"groups must divide the channels of x and weight, {C} and {O}; got {G}")
    if in_group != C // G:
        raise ShapeError(
            f"weight must have {C // G} channels in its second dimension to fit x of shape "
            f"{x_shape} in {G} group{'s' if G > 1 else ''}, got shape {weight_shape}"
        )
    height, width = axes((H, W), (KH, KW), stride, padding, dilation)
    return ConvGeometry(N, C, O, G, height, width)


def axes(
    sizes: tuple[int, int],
    kernels: tuple[int, int],
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool = False,
) -> tuple[Axis, Axis]:
    """Check a window against an image and return its height and width axes."""
    strides = checks.pair("stride", stride, 1)
    dilations = checks.pair("dilation", dilation, 1)
    pads = _padding(padding, sizes, kernels, strides, dilations)
    height, width = (
        _axis(
            ("height", "width")[a],
            sizes[a],
            kernels[a],
            strides[a],
            dilations[a],
            pads[a],
            ceil_mode,
        )
        for a in (0, 1)
    )
    return height, width


def pool_axes(
    sizes: tuple[int, int],
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: Any,
) -> tuple[Axis, Axis]:
    """Check a pooling window: each position has to touch at least one element of the image."""
    kernels = checks.pair("kernel_size", kernel_size, 1)
    if not isinstance(ceil_mode, bool):
        raise TypeError(f"ceil_mode must be True or False, got {ceil_mode!r}")
    pair = axes(sizes, kernels, kernels if stride is None else stride, padding, dilation, ceil_mode)
    for name, axis in zip(("height", "width"), pair, strict=True):
        if max(axis.before, axis.after) >= axis.span:
            raise ShapeError(
                f"padding must be smaller than the window, which spans {axis.span} in {name}; "
                f"got {axis.before} before and {axis.after} after"
            )
        if not _always_touches(axis):
            raise ShapeError(
                f"each window must touch the image: one of kernel {axis.kernel} and dilation "
                f"{axis.dilation} misses all {axis.size} elements in {name}"
            )
    return pair


def _always_touches(axis: Axis) -> bool:
    starts = range(-axis.before, axis.outputs * axis.stride - axis.before, axis.stride)
    inside = range(axis.size)
    return all(
        any(tap in inside for tap in range(start, start + axis.span, axis.dilation))
        for start in starts
        if start < 0 or start + axis.span > axis.size
    )


def _axis(
    name: str,
    size: int,
    kernel: int,
    stride: int,
    dilation: int,
    pad: tuple[int, int],
    ceil_mode: bool,
) -> Axis:
    if kernel < 1:
        raise ShapeError(f"the kernel's {name} must be 1 or more, got {kernel}")
    outputs = output_size(size, kernel, stride, dilation, *pad, ceil_mode)
    span = dilation * (kernel - 1) + 1
    if size < 1 or size + sum(pad) < span:
        raise ShapeError(
            f"the window must fit the padded image: it spans {span} in {name}, "
            f"the image has {size} + {pad[0]} + {pad[1]} (padding)"
        )
    return Axis(size, kernel, stride, dilation, *pad, outputs)


def _padding(
    padding: Any,
    sizes: tuple[int, int],
    kernels: tuple[int, int],
    strides: tuple[int, int],
    dilations: tuple[int, int],
) -> tuple[tuple[int, int], ...]:
    if isinstance(padding, str):
        return _named_padding(padding, sizes, kernels, strides, dilations)
    if isinstance(padding, tuple | list) and any(isinstance(p, tuple | list) for p in padding):
        if len(padding) != 2 or any(
            not isinstance(p, tuple | list) or len(p) != 2 for p in padding
        ):
            raise ShapeError(f"padding must be ((top, bottom), (left, right)), got {padding!r}")
        return tuple(checks.pair("padding", p, 0) for p in padding)
    return tuple((p, p) for p in checks.pair("padding", padding, 0))


def _named_padding(
    name: str,
    sizes: tuple[int, int],
    kernels: tuple[int, int],
    strides: tuple[int, int],
    dilations: tuple[int, int],
) -> tuple[tuple[int, int], ...]:
    if name not in PADDING_NAMES:
        names = ", ".join(repr(n) for n in PADDING_NAMES)
        raise ShapeError(f"padding must be integers or one of {names}; got {name!r}")
    if name == "valid":
        return ((0, 0), (0, 0))
    if name == "same" and strides != (1, 1):
        raise ShapeError(f"padding 'same' needs stride 1, got {strides}; 'same_upper' takes any")
    pads = []
    for size, kernel, stride, dilation in zip(sizes, kernels, strides, dilations, strict=True):
        total = max(0, (-(-size // stride) - 1) * stride + dilation * (kernel - 1) + 1 - size)
        less, more = total // 2, total - total // 2
        pads.append((more, less) if name == "same_lower" else (less, more))
    return tuple(pads)
