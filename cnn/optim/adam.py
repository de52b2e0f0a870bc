"""Adam, and AdamW, which decays weights apart from the gradient."""

from __future__ import annotations

import math

import numpy as np

from cnn.arrays import FloatArray
from cnn.optim.base import Optimizer, fraction, positive
from cnn.parameter import Parameter
from kernels.ops import checks


class Adam(Optimizer):
    """Adam: steps scaled by running means of the gradient and of its square.

    ``m = β₁·m + (1 - β₁)·g;  v = β₂·v + (1 - β₂)·g²;
    d -= lr · m / (1 - β₁ᵗ) / (sqrt(v / (1 - β₂ᵗ)) + eps)`` in step t = 1, 2, … (Kingma & Ba,
    arXiv:1412.6980).

    Parameters
    ----------
    lr : float
        Learning rate.
    betas : (float, float)
        β₁ and β₂, below 1.
    eps : float
        Added to the root.
    weight_decay : float
        Factor of the L2 penalty on all parameters; it goes into the gradient, as in PyTorch.

    Raises
    ------
    ValueError, TypeError
        If an argument does not fit.
    """

    settings = ("lr", "betas", "eps", "weight_decay")
    slots = ("mean", "square")

    def __init__(
        self,
        lr: float = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(lr)
        if not isinstance(betas, tuple | list) or len(betas) != 2:
            raise TypeError(f"betas must be two numbers, got {betas!r}")
        self.betas = (fraction("betas[0]", betas[0]), fraction("betas[1]", betas[1]))
        self.eps = positive("eps", eps)
        self.weight_decay = checks.number("weight_decay", weight_decay)

    def update(self, parameter: Parameter, grad: FloatArray) -> None:
        """Take one step."""
        if self.weight_decay:
            decayed = self.scratch(parameter, 1)
            np.multiply(parameter.data, self.weight_decay, out=decayed)
            grad = np.add(decayed, grad, out=decayed)
        self._adapt(parameter, grad)

    def _adapt(self, parameter: Parameter, grad: FloatArray) -> None:
        beta1, beta2 = self.betas
        kept, work = self.kept(parameter), self.scratch(parameter)
        mean, square = kept["mean"], kept["square"]
        np.subtract(grad, mean, out=work)
        work *= 1 - beta1
        mean += work
        np.multiply(grad, grad, out=work)
        work *= 1 - beta2
        square *= beta2
        square += work
        np.sqrt(square, out=work)
        work /= math.sqrt(1 - beta2**self.steps)
        work += self.eps
        np.divide(mean, work, out=work)
        work *= self.lr / (1 - beta1**self.steps)
        parameter.data -= work


class AdamW(Adam):
    """Adam with decoupled weight decay: ``d *= 1 - lr · weight_decay`` before each step.

    Loshchilov & Hutter, arXiv:1711.05101. Only parameters of two or more dimensions decay, filters
    and matrices: biases and batch-norm's weights have no scale that would have to be held down.
    (PyTorch decays all it is given; there one makes two parameter groups.)

    Parameters
    ----------
    lr, betas, eps
        As for :class:`Adam`.
    weight_decay : float
        Share, times lr, by which a step shrinks the weights.

    Raises
    ------
    ValueError, TypeError
        If an argument does not fit.
    """

    def __init__(
        self,
        lr: float = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(lr, betas, eps, weight_decay)

    def update(self, parameter: Parameter, grad: FloatArray) -> None:
        """Shrink the weights and take one step."""
        if parameter.data.ndim >= 2:
            parameter.data *= 1 - self.lr * self.weight_decay
        self._adapt(parameter, grad)
