"""How the cases of fused operations are drawn.

Whether ReLU lets a value through, and which of a window's values is the largest, must not depend on
how a backend rounds. So where either matters, what is read is drawn from a lattice coarse enough
for every backend to compute it exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import kernels
from kernels import fused
from kernels.backends.contract import FloatArray
from kernels.crosscheck import fused_limits, fused_norms
from kernels.crosscheck.cases import Case
from kernels.crosscheck.drawing import (
    TILED_ONE_IN,
    Draw,
    Window,
    draw_window,
    tiled_sizes,
    tiled_window,
)
from kernels.crosscheck.fused_calls import (
    conv_backward,
    conv_forward,
    cross_entropy,
    elementwise,
    join_backward,
    join_forward,
    linear_update,
)
from kernels.crosscheck.limits import LIMITS, Limit, naive
from kernels.elementwise import MOST_SCALARS, MOST_TEMPORARIES, OPERATIONS
from kernels.geometry import Axis, ConvGeometry, PoolGeometry

Arrays = tuple[Any, ...]

FAR = 2.0**20
"""A mean so large that ``scale · x + shift`` would lose what ``scale · (x - mean)`` keeps."""

VALUE_TERMS = 8
"""Roundings in what is read or pulled, counted as terms of the sums that it goes into."""


def draw_conv_forward(draw: Draw) -> Case:
    """Draw a case."""
    geometry, weight, bias = _convolution(draw)
    relu, stats, pool = draw.chance(0.5), draw.chance(0.7), _pool_behind(draw, geometry)
    stores = pool is None or draw.chance(0.7)
    read, norm_weight = _read(draw, geometry.x_shape), None
    if pool is not None and draw.chance(0.7):
        norm_weight = draw.lattice(geometry.out_channels)
    arguments = (*read, weight, bias, norm_weight)
    settings: dict[str, Any] = {
        **{"relu": relu, "stats": stats, "stores": stores},
        **{"geometry": geometry, "pool": pool},
    }
    _, _, var, _, _ = naive(conv_forward, *arguments, **settings)
    of_size = settings | {"relu": False, "stats": False, "stores": True, "pool": None}
    sizes = (abs(weight), _size(bias))
    size, *_ = naive(conv_forward, *_size_of_read(read), *sizes, None, **of_size)
    K, M = weight[0].size + 1 + VALUE_TERMS, math.prod(size.shape) // size.shape[1]
    size, K = fused_limits.of_forward((size, K), _size_of_read(read), *sizes, geometry)
    of_y = (size, K) if stores else None
    of_mean = of_var = of_values = of_found = None
    if stats:
        largest, var = size.max(axis=(0, 2, 3)), var.astype(size.dtype)
        # An error e of y moves the mean by e and the variance by up to 2 · e · std + e².
        e = largest * 4 * np.finfo(size.dtype).eps * math.sqrt(K + M)
        of_mean, of_var = (largest, K + M), (var + largest * (2 * np.sqrt(var) + e), K + M)
    if pool is not None:  # a largest value moves by no more than one of the window's does
        kernel, stride = (
            (pool.height.kernel, pool.width.kernel),
            (pool.height.stride, pool.width.stride),
        )
        of_values = naive(kernels.max_pool2d, size, kernel, stride=stride).y, K
        of_found = of_values if stores else None
    return Case(arguments, (of_y, of_mean, of_var, of_values, of_found), settings)


def draw_conv_backward(draw: Draw) -> Case:
    """Draw a case."""
    geometry, weight, bias = _convolution(draw)
    pull, pool = _pull(draw, geometry.y_shape)
    read = _read(draw, geometry.x_shape)
    add = draw.values(*geometry.x_shape) if draw.chance(0.3) else None
    arguments = (*pull, *read, weight, add)
    settings: dict[str, Any] = {
        "relu": draw.chance(0.5),
        "wanted": (draw.chance(0.8), bias is not None),
        "geometry": geometry,
        "pool": pool,
    }
    of_pull, of_read = _size_of_pull(pull), _size_of_read(read)
    of_others = (abs(weight), _size(add))
    sizes = naive(conv_backward, *of_pull, *of_read, *of_others, **settings | {"relu": False})
    O, _, KH, KW = geometry.weight_shape
    terms, pixels = O // geometry.groups * KH * KW, math.prod(geometry.y_shape) // O
    M = math.prod(geometry.x_shape) // geometry.channels
    lengths = (terms, pixels, pixels, terms + M, terms + M)
    limits = _limits(sizes, lengths, weight.dtype)
    limits = fused_limits.of_backward(limits, of_pull, pool, of_read, *of_others, geometry)
    return Case(arguments, limits, settings)


def draw_join_forward(draw: Draw) -> Case:
    """Draw a case whose values are exact, here and there NaN or infinite."""
    pool, shape = _pool(draw) if draw.chance(0.6) else (None, _plane(draw))
    arguments = _joined(draw, shape)
    if draw.chance(0.3):
        infinite = (np.inf, -np.inf) if arguments[1] is None and len(arguments) == 4 else ()
        special = draw.choice(np.nan, *infinite)  # inf - inf would warn
        arguments = (_here_and_there(draw, arguments[0], special), *arguments[1:])
    settings = {"relu": draw.chance(0.5), "pool": pool, "in_order": draw.chance(0.4)}
    return Case(arguments, (None, None), settings)


def draw_join_backward(draw: Draw) -> Case:
    """Draw a case."""
    pool, shape = _pool(draw) if draw.chance(0.5) else (None, _plane(draw))
    relu = draw.chance(0.6)
    reads = _joined(draw, shape)
    if reads[1] is None and draw.chance(0.5):  # it has no sums, which would be NaN
        reads = (_here_and_there(draw, reads[0], np.nan), *reads[1:])
    y, position = naive(join_forward, *reads, relu=relu, pool=pool, in_order=False)
    arguments = (draw.values(*y.shape), position, y, *reads)
    settings = {"relu": relu, "pool": pool}
    of_reads = (size for i in range(0, len(reads), 4) for size in _size_of_read(reads[i : i + 4]))
    of_arguments = (abs(arguments[0]), position, np.ones_like(y), *of_reads)
    _, *sizes = naive(join_backward, *of_arguments, **settings)
    lengths = [math.prod(shape) // shape[1]] * len(sizes)
    return Case(arguments, (None, *_limits(sizes, lengths, y.dtype)), settings)


def draw_elementwise(draw: Draw) -> Case:
    """Draw a case around the length of a vector, or of several blocks; the same bits are right."""
    size = draw.integer(1, 70) if draw.chance(0.8) else draw.integer(4000, 20000)
    arrays = [abs(draw.values(size)) + 0.5 for _ in range(3)]
    scalars = np.array([draw.integer(1, 99) / 7 for _ in range(MOST_SCALARS)])
    places: list[Any] = [0, 1, 2, *map(fused.Temporary, range(MOST_TEMPORARIES))]
    filled: list[Any] = [0, 1, 2]
    steps: list[tuple[Any, ...]] = []
    for _ in range(draw.integer(1, 8)):
        name, out = draw.choice(*OPERATIONS), draw.choice(*places)
        operands = [
            fused.Scalar(draw.integer(0, MOST_SCALARS - 1))
            if draw.chance(0.25)
            else draw.choice(*filled)
            for _ in range(1 if name == "sqrt" else 2)
        ]
        steps.append((name, out, *operands))
        filled += [out] if out not in filled else []
    steps.append(("add", 0, 0, draw.choice(*filled)))
    return Case((*arrays, scalars), (None, None, None), {"steps": tuple(steps)})


def draw_linear_update(draw: Draw) -> Case:
    """Draw a layer with few columns, or with so many that tasks update what is theirs."""
    N, O = draw.batch(), draw.channels()
    I = draw.channels() if draw.chance(0.7) else draw.integer(200, 2300)
    grad_y, x, weight = draw.values(N, O), draw.values(N, I), draw.values(O, I)
    rate = np.array([draw.integer(1, 9) / 4])
    sizes = naive(linear_update, abs(grad_y), abs(x), abs(weight), -rate)
    lengths = O, max(1, N), max(1, N), N + 2
    return Case((grad_y, x, weight, rate), _limits(sizes, lengths, x.dtype), {})


def draw_cross_entropy(draw: Draw) -> Case:
    """Draw logits of any size, as for :func:`kernels.softmax_cross_entropy`."""
    logits = draw.logits(1)
    labels = draw.labels(*logits.shape).astype(np.int64)
    (_, of_grad) = LIMITS["softmax_cross_entropy"](logits, labels)
    (K, largest) = logits.shape[1], 1 + 2 * abs(logits).max(axis=1)
    return Case((logits, labels), ((largest, K), of_grad), {})


def _limits(sizes: Any, lengths: Any, dtype: Any) -> tuple[Limit, ...]:
    return tuple(
        None if size is None else (size.astype(dtype), length + VALUE_TERMS)
        for size, length in zip(sizes, lengths, strict=True)
    )


def _size(array: FloatArray | None) -> FloatArray | None:
    return None if array is None else abs(array)


def _size_of_read(read: Arrays) -> Arrays:
    """Return what reads as ``|scale| · |x - mean| + |shift|``: rounding spoils no more."""
    x, mean, scale, shift = read
    if x is None or mean is None:
        return (_size(x), None, None, None)
    return (_centred(x, mean), np.zeros_like(mean), _size(scale), _size(shift))


def _size_of_pull(pull: Arrays) -> Arrays:
    g, x, mean, a, b, c, position = pull
    if x is None or mean is None:
        return (_size(g), None, None, None, None, None, position)
    sizes = (_size(array) for array in (a, b, c))
    return (_size(g), _centred(x, mean), np.zeros_like(mean), *sizes, position)


def _centred(x: FloatArray, mean: FloatArray) -> FloatArray:
    return abs(x - mean.reshape(1, -1, *(1,) * (x.ndim - 2)))


def _convolution(draw: Draw) -> tuple[ConvGeometry, FloatArray, FloatArray | None]:
    groups = draw.integer(2, 4) if draw.chance(0.2) else 1
    in_group, out_group = draw.channels(), draw.channels()
    if groups > 1:
        in_group, out_group = draw.integer(1, 4), draw.integer(1, 4)
        groups = draw.choice(groups, max(2, draw.channels()))
    height, width = (
        _axis(draw_window(draw, dilated=True, ceil_mode=False, padding_below_kernel=False))
        for _ in range(2)
    )
    N = draw.batch(least=1)
    if draw.chance(1 / TILED_ONE_IN):
        N, groups, in_group, out_group = tiled_sizes(draw)
        height, width = (_axis(tiled_window(draw, N)) for _ in range(2))
    channels = groups * in_group, groups * out_group
    geometry = ConvGeometry(N, *channels, groups, height, width)
    bias = draw.values(geometry.out_channels) if draw.chance(0.6) else None
    return geometry, draw.values(*geometry.weight_shape), bias


def _axis(window: Window) -> Axis:
    sizes = (window.size, window.kernel, window.stride, window.dilation)
    return Axis(*sizes, window.before, window.after, window.outputs)


def _plane(draw: Draw) -> tuple[int, ...]:
    space = (draw.integer(1, 9), draw.integer(1, 9)) if draw.chance(0.8) else ()
    return (draw.batch(least=1), draw.channels(), *space)


def _pool(draw: Draw) -> tuple[PoolGeometry, tuple[int, ...]]:
    """Draw a pooling window, as often as not the common one: 2×2 without overlap."""
    N, C = draw.batch(least=1), draw.channels()
    if draw.chance(0.5):
        height, width = (Axis(size, 2, 2, 1, 0, 0, size // 2) for size in (draw.integer(2, 9), 6))
    else:
        height, width = (
            _axis(draw_window(draw, dilated=True, ceil_mode=True, padding_below_kernel=True))
            for _ in range(2)
        )
    return PoolGeometry(N, C, height, width), (N, C, height.size, width.size)


def _read(draw: Draw, shape: tuple[int, ...]) -> Arrays:
    """Draw what a read holds, such that its value is exact."""
    x, C = draw.lattice(*shape), shape[1]
    if draw.chance(0.3):
        return x, None, None, None
    mean = draw.lattice(C)
    if draw.chance(0.2):
        x, mean = (draw.laid_out(array + array.dtype.type(FAR)) for array in (x, mean))
    return x, mean, draw.lattice(C), draw.lattice(C)


def _joined(draw: Draw, shape: tuple[int, ...]) -> Arrays:
    return tuple(part for _ in range(draw.integer(1, 3)) for part in _read(draw, shape))


def _here_and_there(draw: Draw, array: FloatArray, value: float) -> FloatArray:
    """Return a copy of an array with a value in some places."""
    changed = np.array(array)
    changed[draw.lattice(*array.shape) > 1] = value
    return draw.laid_out(changed)


def _pull(draw: Draw, shape: tuple[int, ...]) -> tuple[Arrays, PoolGeometry | None]:
    """Draw what a pull holds, and a pool or none."""
    C, pool, position, g_shape = shape[1], None, None, shape
    if draw.chance(0.5):
        height, width = (_pooled(draw, size) for size in shape[2:])
        pool = PoolGeometry(shape[0], C, height, width)
        reads = _joined(draw, shape)
        relu = draw.chance(0.5)
        _, position = naive(join_forward, *reads, relu=relu, pool=pool, in_order=False)
        g_shape = pool.y_shape
    batch_norm: Arrays = (None,) * 5
    if draw.chance(0.6):
        batch_norm = (draw.values(*shape), *(draw.values(C) for _ in range(4)))
    return (draw.values(*g_shape), *batch_norm, position), pool


def _pool_behind(draw: Draw, geometry: ConvGeometry) -> PoolGeometry | None:
    """Draw a pooling of a convolution's output whose windows are apart, or none."""
    if draw.chance(0.5):
        return None
    height, width = (
        _pooled(draw, axis.outputs, apart=True) for axis in (geometry.height, geometry.width)
    )
    return PoolGeometry(geometry.batch, geometry.out_channels, height, width)


def _pooled(draw: Draw, size: int, *, apart: bool = False) -> Axis:
    kernel = min(size, draw.choice(2, 2, 3))
    stride = kernel + draw.integer(0, 1) if apart else draw.choice(kernel, 1, 2)
    return Axis(size, kernel, stride, 1, 0, 0, (size - kernel) // stride + 1)


FUSED_OPERATIONS: dict[str, tuple[Callable[..., tuple[Any, ...]], Callable[[Draw], Case]]] = {
    "conv_forward": (conv_forward, draw_conv_forward),
    "conv_backward": (conv_backward, draw_conv_backward),
    "join_forward": (join_forward, draw_join_forward),
    "join_backward": (join_backward, draw_join_backward),
    "norm_forward": (fused_norms.norm_forward, fused_norms.draw_norm_forward),
    "norm_backward": (fused_norms.norm_backward, fused_norms.draw_norm_backward),
    "norm_track": (fused_norms.norm_track, fused_norms.draw_norm_track),
    "linear_update": (linear_update, draw_linear_update),
    "cross_entropy": (cross_entropy, draw_cross_entropy),
    "elementwise": (elementwise, draw_elementwise),
}
