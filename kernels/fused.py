"""The fused operations: what a training step consists of when nothing is stored that need not be.

Three quarters of a convolutional network's step is memory traffic around the convolutions. So
batch-norm and ReLU are no operations here but a way to read (:class:`Read`): a convolution applies
them while it loads its input, and takes the statistics that the next batch-norm needs while its
output is in cache. Likewise the gradient of batch-norm and max-pooling is a way to read a stored
gradient (:class:`Pull`). A convolution may max-pool its output, too (:class:`Pooled`). Where values
have several readers, are added up or pooled otherwise, a join stores them.

    h1, m1 = conv(x), moments           conv_forward(Read(x), ..., stats=True)
    n1     = bn's mean, scale, shift     norm_forward(m1, weight, bias, eps, rstd=..., out=n1)
    h2, m2 = conv(relu(bn(h1)))         conv_forward(Read(h1, *n1, relu), ..., stats=True)
    p2, m2 = pool(h2) meanwhile         conv_forward(..., stats=True, pooled=Pooled(pool, p2, ...))
    y      = pool(relu(bn(h2)))         join_forward((Read(p2, *n2),), True, None)

A backend may lack them: :func:`offered` says so. Bound to the naive backend's plain operations,
``kernels.backends.composition`` is their definition. They are for a trainer, which makes shapes
and arrays once and runs them a million times: geometry comes ready, results go into given arrays,
and only shapes and dtypes are checked.
"""

from __future__ import annotations

import functools
from typing import cast

import numpy as np
from numpy.typing import NDArray

from kernels import dispatch
from kernels.backends import contract
from kernels.backends.composition import composed
from kernels.backends.contract import FloatArray
from kernels.elementwise import Scalar, Step, Temporary
from kernels.errors import ShapeError
from kernels.fused_checks import (
    check_array,
    check_parameters,
    check_pooled,
    check_position,
    check_pull,
    check_read,
    fused_backend,
    joined_shape,
)
from kernels.fused_loss import cross_entropy
from kernels.fused_norm import norm_backward, norm_forward, norm_track
from kernels.fused_steps import elementwise, linear_update
from kernels.geometry import ConvGeometry, PoolGeometry
from kernels.lazy import MOST_TAPS, NOWHERE, Moments, Pooled, Pull, Read, Running, Sums

__all__ = [
    "MOST_TAPS",
    "NOWHERE",
    "Moments",
    "Pooled",
    "Pull",
    "Read",
    "Running",
    "Scalar",
    "Step",
    "Sums",
    "Temporary",
    "conv_backward",
    "conv_forward",
    "cross_entropy",
    "elementwise",
    "gains",
    "join_backward",
    "join_forward",
    "linear_update",
    "norm_backward",
    "norm_forward",
    "norm_track",
    "offered",
]


def offered(backend: str | None = None) -> bool:
    """Whether a backend, the current one if none is named, has the fused operations.

    Raises
    ------
    UnknownBackendError
        If there is no backend of that name.
    """
    return contract.offers_fused(dispatch.resolve(backend))


def gains(backend: str | None = None) -> bool:
    """Whether a backend has fused operations that are more than its plain ones put together.

    A composition stores what a plain operation stores, and computes some of it twice: numpy's step
    of ``mnist_cnn`` at batch 32 takes 39 ms by it and 29 ms layer by layer.

    Raises
    ------
    UnknownBackendError
        If there is no backend of that name.
    """
    return _gains(cast(object, dispatch.resolve(backend)))


@functools.cache
def _gains(backend: object) -> bool:
    functions = (getattr(backend, name, None) for name in contract.fused_operations())
    return any(function is not None and not composed(function) for function in functions)


def conv_forward(
    read: Read,
    weight: FloatArray,
    bias: FloatArray | None,
    geometry: ConvGeometry,
    *,
    stats: bool,
    out: FloatArray | None,
    pooled: Pooled | None = None,
    backend: str | None = None,
) -> Moments | None:
    """Convolve what is read; see :func:`kernels.conv2d`.

    Parameters
    ----------
    read : Read
        Of (N, C, H, W) values.
    weight, bias, geometry
        Of the convolution.
    stats : bool
        Take the output's moments as well.
    out : (N, O, OH, OW) array or None
        Is given the result. None if it is wanted as ``pooled`` only.
    pooled : Pooled, optional
        Max-pool the result as well.
    backend : str, optional
        Instead of the current backend.

    Returns
    -------
    Moments or None
        Of the result, over N, OH and OW.

    Raises
    ------
    ShapeError, TypeError, UnknownBackendError
        If an argument does not fit, or the backend has no fused operations.
    """
    chosen = fused_backend(backend)
    check_read("read", read, geometry.x_shape)
    check_parameters(read.x, weight, bias, geometry)
    if out is not None:
        check_array("out", out, geometry.y_shape, read.x)
    if pooled is not None:
        check_pooled(pooled, geometry.y_shape, read.x)
    elif out is None:
        raise ShapeError("out must be an array unless the result is pooled, got None")
    return chosen.conv_forward(read, weight, bias, geometry, stats=stats, out=out, pooled=pooled)


def conv_backward(
    pull: Pull,
    read: Read,
    weight: FloatArray,
    geometry: ConvGeometry,
    *,
    add: FloatArray | None = None,
    grad_x: FloatArray | None,
    grad_weight: FloatArray,
    grad_bias: FloatArray | None,
    backend: str | None = None,
) -> Sums | None:
    """The gradients of :func:`conv_forward`.

    Parameters
    ----------
    pull : Pull
        The gradient with respect to the convolution's output, (N, O, OH, OW).
    read, weight, geometry
        As given to :func:`conv_forward`.
    add : (N, C, H, W) array, optional
        Added to the gradient of what is read: that of its other readers.
    grad_x : (N, C, H, W) array or None
        Is given the gradient with respect to ``scale · (x - mean) + shift``: that of what is read,
        0 where ReLU made it 0. None if nobody needs it.
    grad_weight, grad_bias : arrays of the parameters' shapes; grad_bias may be None
        Are given theirs.
    backend : str, optional
        Instead of the current backend.

    Returns
    -------
    Sums or None
        Of ``grad_x`` and ``read.x - read.mean``, if there is a mean and a ``grad_x``.

    Raises
    ------
    ShapeError, TypeError, UnknownBackendError
        If an argument does not fit, or the backend has no fused operations.
    """
    chosen = fused_backend(backend)
    check_pull(pull, geometry.y_shape)
    check_read("read", read, geometry.x_shape)
    check_parameters(read.x, weight, grad_bias, geometry)
    check_array("grad_weight", grad_weight, geometry.weight_shape, read.x)
    for name, array in (("grad_x", grad_x), ("add", add)):
        if array is not None:
            check_array(name, array, geometry.x_shape, read.x)
    return chosen.conv_backward(
        pull,
        read,
        weight,
        geometry,
        add=add,
        grad_x=grad_x,
        grad_weight=grad_weight,
        grad_bias=grad_bias,
    )


def join_forward(
    reads: tuple[Read, ...],
    relu: bool,
    pool: PoolGeometry | None,
    *,
    out: FloatArray,
    position: NDArray[np.uint8] | None,
    backend: str | None = None,
) -> None:
    """Store what several readers need: the sum of what is read, after ReLU, after max-pooling.

    Parameters
    ----------
    reads : tuple of Read
        One or more of one shape, none of them with a ReLU of its own.
    relu : bool
        Whether ReLU follows the sum.
    pool : PoolGeometry or None
        Max-pooling to follow that, of at most :data:`MOST_TAPS` taps.
    out : array of the values' shape, or (N, C, PH, PW) if they are pooled
        Is given the result. In any memory layout: one in the order (N, C, H, W) makes a
        following flattening cost nothing.
    position : array of uint8 of out's shape, or None
        Is given where in its window each maximum is, row by row: ``kh · KW + kw``, or
        :data:`NOWHERE` where ReLU made it 0. None without pooling, or if no backward follows.
    backend : str, optional
        Instead of the current backend.

    Raises
    ------
    ShapeError, TypeError, UnknownBackendError
        If an argument does not fit, or the backend has no fused operations.
    """
    chosen = fused_backend(backend)
    shape = joined_shape(reads, pool)
    check_array("out", out, shape if pool is None else pool.y_shape, reads[0].x)
    check_position(position, pool)
    chosen.join_forward(reads, relu, pool, out=out, position=position)


def join_backward(
    grad_y: FloatArray,
    position: NDArray[np.uint8] | None,
    y: FloatArray,
    reads: tuple[Read, ...],
    relu: bool,
    pool: PoolGeometry | None,
    *,
    out: FloatArray | None,
    backend: str | None = None,
) -> tuple[Sums | None, ...]:
    """The gradient of :func:`join_forward`.

    Parameters
    ----------
    grad_y : array of y's shape
        Gradient with respect to what was stored.
    position, y, reads, relu, pool
        As given to :func:`join_forward`, or as it wrote them.
    out : array of grad_y's shape, or None
        Is given ``grad_y`` where ReLU let it through, 0 elsewhere. None if there was no ReLU, when
        it would be ``grad_y`` itself, or pooling: a :class:`Pull` reads that through the positions.
    backend : str, optional
        Instead of the current backend.

    Returns
    -------
    tuple of Sums or None
        For each read with a mean: of its gradient and ``x - mean``.

    Raises
    ------
    ShapeError, TypeError, UnknownBackendError
        If an argument does not fit, or the backend has no fused operations.
    """
    chosen = fused_backend(backend)
    shape = joined_shape(reads, pool)
    check_array("grad_y", grad_y, shape if pool is None else pool.y_shape, y)
    check_array("y", y, grad_y.shape, reads[0].x)
    check_position(position, pool)
    if pool is not None and position is None:
        raise ShapeError("position must be an array with a pool, got None")
    if (out is not None) != (relu and pool is None):
        raise ShapeError("out must be an array with ReLU and without pooling, else None")
    if out is not None:
        check_array("out", out, grad_y.shape, y)
    return chosen.join_backward(grad_y, position, y, reads, relu, pool, out=out)
