"""Adam, and AdamW, which decays weights apart from the gradient."""

from __future__ import annotations

import math

from cnn.arrays import FloatArray
from cnn.optim.base import Optimizer, fraction, positive
from cnn.parameter import Parameter
from kernels.elementwise import Step, Temporary
from kernels.ops import checks

WORK, DECAYED = Temporary(0), Temporary(1)


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
            decay = [
                Step("multiply", DECAYED, parameter.data, self.weight_decay),
                Step("add", DECAYED, DECAYED, grad),
            ]
            self.compute(parameter, [*decay, *self._adapted(parameter, DECAYED)])
        else:
            self.compute(parameter, self._adapted(parameter, grad))

    def _adapted(self, parameter: Parameter, grad: FloatArray | Temporary) -> list[Step]:
        """Return the steps from a gradient to new values."""
        beta1, beta2 = self.betas
        kept, data = self.kept(parameter), parameter.data
        mean, square = kept["mean"], kept["square"]
        return [
            Step("subtract", WORK, grad, mean),
            Step("multiply", WORK, WORK, 1 - beta1),
            Step("add", mean, mean, WORK),
            Step("multiply", WORK, grad, grad),
            Step("multiply", WORK, WORK, 1 - beta2),
            Step("multiply", square, square, beta2),
            Step("add", square, square, WORK),
            Step("sqrt", WORK, square),
            Step("divide", WORK, WORK, math.sqrt(1 - beta2**self.steps)),
            Step("add", WORK, WORK, self.eps),
            Step("divide", WORK, mean, WORK),
            Step("multiply", WORK, WORK, self.lr / (1 - beta1**self.steps)),
            Step("subtract", data, data, WORK),
        ]


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
        data, steps = parameter.data, self._adapted(parameter, grad)
        if data.ndim >= 2:
            steps.insert(0, Step("multiply", data, data, 1 - self.lr * self.weight_decay))
        self.compute(parameter, steps)
