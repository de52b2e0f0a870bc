"""What a backend is: a module with these functions, under these names and parameters.

``kernels.ops`` is the only caller. It has validated everything, so a backend trusts its inputs:
NumPy arrays of one dtype (float32 or float64), logically NCHW (images) and OIHW (weights), of any
strides, possibly read-only, possibly with a batch of zero where the public function allows it.
Inputs are never modified. Results go into the arrays passed by keyword, which overlap no input
and come from :meth:`Backend.empty` unless the caller brought its own.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kernels.elementwise import Step
from kernels.geometry import ConvGeometry, PoolGeometry
from kernels.lazy import Float64, Moments, Pooled, Pull, Read, Running, Sums

FloatArray = NDArray[np.floating[Any]]
IntArray = NDArray[np.integer[Any]]


class Backend(Protocol):
    """The operations of a backend, in the order in which each folder's files hold them."""

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return an uninitialised array in the memory layout that this backend likes best."""

    # convolution.py

    def conv2d(
        self,
        x: FloatArray,
        weight: FloatArray,
        bias: FloatArray | None,
        geometry: ConvGeometry,
        *,
        out: FloatArray,
    ) -> None:
        """Write the convolution into ``out``."""

    def conv2d_backward_input(
        self, grad_y: FloatArray, weight: FloatArray, geometry: ConvGeometry, *, out: FloatArray
    ) -> None:
        """Write the gradient with respect to ``x`` into ``out``."""

    def conv2d_backward_weight(
        self, grad_y: FloatArray, x: FloatArray, geometry: ConvGeometry, *, out: FloatArray
    ) -> None:
        """Write the gradient with respect to ``weight`` into ``out``."""

    def conv2d_backward_bias(self, grad_y: FloatArray, *, out: FloatArray) -> None:
        """Write the gradient with respect to ``bias`` into ``out``."""

    # pooling.py

    def max_pool2d(
        self, x: FloatArray, geometry: PoolGeometry, *, out: FloatArray, indices: IntArray
    ) -> None:
        """Write the maxima into ``out`` and their places in the H×W plane into ``indices``."""

    def max_pool2d_backward(
        self, grad_y: FloatArray, indices: IntArray, *, out: FloatArray
    ) -> None:
        """Add each gradient to ``out`` (zero elsewhere) at its index, known to be in range."""

    def avg_pool2d(
        self,
        x: FloatArray,
        geometry: PoolGeometry,
        count_include_pad: bool,
        divisor_override: int | None,
        *,
        out: FloatArray,
    ) -> None:
        """Write the means into ``out``; ``divisor_override`` replaces the counts if it is set."""

    def avg_pool2d_backward(
        self,
        grad_y: FloatArray,
        geometry: PoolGeometry,
        count_include_pad: bool,
        divisor_override: int | None,
        *,
        out: FloatArray,
    ) -> None:
        """Write the gradient of :meth:`avg_pool2d` into ``out``."""

    def global_avg_pool2d(self, x: FloatArray, *, out: FloatArray) -> None:
        """Write the mean of each plane into ``out``, (N, C, 1, 1)."""

    def global_avg_pool2d_backward(self, grad_y: FloatArray, *, out: FloatArray) -> None:
        """Write the gradient of :meth:`global_avg_pool2d` into ``out``."""

    # normalization.py

    def batch_norm(
        self,
        x: FloatArray,
        weight: FloatArray,
        bias: FloatArray,
        eps: float,
        *,
        out: FloatArray,
        mean: FloatArray,
        rstd: FloatArray,
    ) -> None:
        """Normalise by the batch's own statistics and write those too."""

    def batch_norm_backward(
        self,
        grad_y: FloatArray,
        x: FloatArray,
        weight: FloatArray,
        mean: FloatArray,
        rstd: FloatArray,
        *,
        grad_x: FloatArray,
        grad_weight: FloatArray,
        grad_bias: FloatArray,
    ) -> None:
        """Write the three gradients of :meth:`batch_norm`."""

    def batch_norm_inference(
        self,
        x: FloatArray,
        weight: FloatArray,
        bias: FloatArray,
        running_mean: FloatArray,
        running_var: FloatArray,
        eps: float,
        *,
        out: FloatArray,
    ) -> None:
        """Normalise by given statistics."""

    def batch_norm_inference_backward(
        self,
        grad_y: FloatArray,
        x: FloatArray,
        weight: FloatArray,
        running_mean: FloatArray,
        running_var: FloatArray,
        eps: float,
        *,
        grad_x: FloatArray,
        grad_weight: FloatArray,
        grad_bias: FloatArray,
    ) -> None:
        """Write the three gradients of :meth:`batch_norm_inference`."""

    # dense.py

    def linear(
        self, x: FloatArray, weight: FloatArray, bias: FloatArray | None, *, out: FloatArray
    ) -> None:
        """Write ``x @ weight.T + bias`` into ``out``."""

    def linear_backward(
        self,
        grad_y: FloatArray,
        x: FloatArray,
        weight: FloatArray,
        *,
        grad_x: FloatArray,
        grad_weight: FloatArray,
        grad_bias: FloatArray,
    ) -> None:
        """Write the three gradients of :meth:`linear`."""

    # activation.py

    def relu(self, x: FloatArray, *, out: FloatArray) -> None:
        """Write ``max(x, 0)`` into ``out``; NaN stays NaN."""

    def relu_backward(self, grad_y: FloatArray, y: FloatArray, *, out: FloatArray) -> None:
        """Write ``grad_y`` into ``out`` where ``y`` is positive or NaN, 0 elsewhere."""

    # loss.py

    def softmax(self, logits: FloatArray, *, out: FloatArray) -> None:
        """Write each row's softmax into ``out``."""

    def log_softmax(self, logits: FloatArray, *, out: FloatArray) -> None:
        """Write the logarithm of each row's softmax into ``out``."""

    def softmax_cross_entropy(
        self, logits: FloatArray, labels: IntArray, *, grad_logits: FloatArray
    ) -> float:
        """Return the mean loss and write its gradient; ``labels`` are known to be in range."""


class FusedBackend(Backend, Protocol):
    """A backend that also has the fused operations: all of them, in fused.py.

    They are what a training step consists of when it keeps no value that the next operation can
    compute for itself: see :mod:`kernels.fused`, which says it all.
    """

    def conv_forward(
        self,
        read: Read,
        weight: FloatArray,
        bias: FloatArray | None,
        geometry: ConvGeometry,
        *,
        stats: bool,
        out: FloatArray | None,
        pooled: Pooled | None = None,
    ) -> Moments | None:
        """Write the convolution of what is read, and pool it; return its moments if ``stats``."""

    def conv_backward(
        self,
        pull: Pull,
        read: Read,
        weight: FloatArray,
        geometry: ConvGeometry,
        *,
        add: FloatArray | None = None,
        grad_x: FloatArray | None,
        grad_weight: FloatArray,
        grad_bias: FloatArray | None,
    ) -> Sums | None:
        """Write the gradients of :meth:`conv_forward` that are wanted."""

    def join_forward(
        self,
        reads: tuple[Read, ...],
        relu: bool,
        pool: PoolGeometry | None,
        *,
        out: FloatArray,
        position: NDArray[np.uint8] | None,
    ) -> None:
        """Write the sum of what is read, after ReLU and max-pooling if they are asked for."""

    def join_backward(
        self,
        grad_y: FloatArray,
        position: NDArray[np.uint8] | None,
        y: FloatArray,
        reads: tuple[Read, ...],
        relu: bool,
        pool: PoolGeometry | None,
        *,
        out: FloatArray | None,
    ) -> tuple[Sums | None, ...]:
        """Return the sums of each read that has a mean; without pooling, undo ReLU if there was."""

    def norm_forward(
        self,
        moments: Moments,
        weight: FloatArray,
        bias: FloatArray,
        eps: float,
        *,
        rstd: Float64,
        out: FloatArray,
    ) -> None:
        """Write batch-norm's numbers for a read into ``out``, and ``rstd``."""

    def norm_backward(
        self,
        sums: Sums,
        weight: FloatArray,
        mean: FloatArray,
        rstd: Float64,
        count: int,
        *,
        out: FloatArray,
        grad_weight: FloatArray,
        grad_bias: FloatArray,
    ) -> None:
        """Write batch-norm's numbers for a pull into ``out``, and its parameters' gradients."""

    def norm_track(
        self,
        mean: FloatArray,
        rstd: FloatArray,
        eps: float,
        count: int,
        momentum: float,
        *,
        running: Running,
    ) -> None:
        """Move running statistics towards a batch's."""

    def linear_update(
        self,
        grad_y: FloatArray,
        x: FloatArray,
        weight: FloatArray,
        *,
        grad_x: FloatArray,
        grad_weight: FloatArray,
        grad_bias: FloatArray,
        steps: Sequence[Step],
        scalars: Float64,
    ) -> None:
        """Write the gradients of :meth:`linear`, then do steps on weight and ``grad_weight``."""

    def cross_entropy(
        self, logits: FloatArray, labels: IntArray, *, losses: Float64, grad_logits: FloatArray
    ) -> None:
        """Write the loss of each row, and the gradient of their mean; labels are of int64."""

    def elementwise(self, steps: Sequence[Step], scalars: Float64) -> None:
        """Do elementwise steps on C-contiguous arrays of one shape, each rounded."""


@functools.cache
def operations() -> tuple[str, ...]:
    """Names of the functions that every backend has."""
    return tuple(name for name in vars(Backend) if not name.startswith("_"))


@functools.cache
def fused_operations() -> tuple[str, ...]:
    """Names of the functions that a backend may have besides, all or none."""
    return tuple(name for name in vars(FusedBackend) if not name.startswith("_"))


def offers_fused(module: object) -> bool:
    """Whether a backend has fused operations."""
    return any(callable(getattr(module, name, None)) for name in fused_operations())


def check(name: str, module: object) -> None:
    """Check that a module is a backend: each function is there, with the same parameters.

    The fused operations may be missing, but not some of them only.

    Raises
    ------
    TypeError
        If one is missing or has other parameters; the message says what would fit.
    """
    wanted_names = operations() + (fused_operations() if offers_fused(module) else ())
    for operation in wanted_names:
        wanted = _parameters(getattr(FusedBackend, operation))
        function = getattr(module, operation, None)
        if not callable(function):
            signature = ", ".join(parameter.name for parameter in wanted)
            raise TypeError(f"backend {name!r} must have a function {operation}({signature})")
        found = _parameters(function)
        if found != wanted:
            raise TypeError(
                f"backend {name!r}: {operation} must have the parameters "
                f"({', '.join(map(str, wanted))}), got ({', '.join(map(str, found))})"
            )


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    return [
        parameter.replace(annotation=inspect.Parameter.empty)
        for parameter in inspect.signature(function).parameters.values()
        if parameter.name != "self"
    ]
