"""When Winograd's algorithm is the faster one."""

from __future__ import annotations

from kernels.geometry import ConvGeometry


def fits(geometry: ConvGeometry) -> bool:
    """Tell whether it is a 3×3 convolution of stride and dilation 1 in one group."""
    axes = (geometry.height, geometry.width)
    return geometry.groups == 1 and all(
        (axis.kernel, axis.stride, axis.dilation) == (3, 1, 1) for axis in axes
    )


def pays(geometry: ConvGeometry, source_channels: int, target_channels: int, lanes: int) -> bool:
    """Tell whether Winograd's algorithm takes less time than the direct one."""
    return fits(geometry) and source_channels >= 8 and target_channels >= 8
