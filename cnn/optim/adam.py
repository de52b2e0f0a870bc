"""Adam, and AdamW, which decays weights apart from the gradient."""

from __future__ import annotations

import math

from cnn.arrays import FloatArray
from cnn.optim.base import fraction, positive
from cnn.optim.elementwise import Elementwise
from cnn.parameter import Parameter
from kernels.elementwise import Scalar, Step, Temporary
from kernels.ops import checks

WORK, DECAYED = Temporary(0), Temporary(1)
DECAY, NEW_MEAN, NEW_SQUARE, OLD_SQUARE, EPS, ROOT, RATE = map(Scalar, range(7))


class Adam(Elementwise):
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

    def numbers(self) -> tuple[float, ...]:
        """Return the factors of this step."""
        beta1, beta2 = self.betas
        return (
            *(self.weight_decay, 1 - beta1, 1 - beta2, beta2, self.eps),
            *(math.sqrt(1 - beta2**self.steps), self.lr / (1 - beta1**self.steps)),
        )

    def form(self) -> tuple[object, ...]:
        """Return whether weights decay."""
        return (bool(self.weight_decay),)

    def rule(self, parameter: Parameter, grad: FloatArray) -> list[Step]:
        """Return one step."""
        if not self.weight_decay:
            return self._adapted(parameter, grad)
        return [
            Step("multiply", DECAYED, parameter.data, DECAY),
            Step("add", DECAYED, DECAYED, grad),
            *self._adapted(parameter, DECAYED),
        ]

    def _adapted(self, parameter: Parameter, grad: FloatArray | Temporary) -> list[Step]:
        """Return the steps from a gradient to new values."""
        kept, data = self.kept(parameter), parameter.data
        mean, square = kept["mean"], kept["square"]
        return [
            Step("subtract", WORK, grad, mean),
            Step("multiply", WORK, WORK, NEW_MEAN),
            Step("add", mean, mean, WORK),
            Step("multiply", WORK, grad, grad),
            Step("multiply", WORK, WORK, NEW_SQUARE),
            Step("multiply", square, square, OLD_SQUARE),
            Step("add", square, square, WORK),
            Step("sqrt", WORK, square),
            Step("divide", WORK, WORK, ROOT),
            Step("add", WORK, WORK, EPS),
            Step("divide", WORK, mean, WORK),
            Step("multiply", WORK, WORK, RATE),
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

    def numbers(self) -> tuple[float, ...]:
        """Return the factors of this step."""
        _, *others = super().numbers()
        return 1 - self.lr * self.weight_decay, *others

    def form(self) -> tuple[object, ...]:
        """Return nothing: the steps are always the same."""
        return ()

    def rule(self, parameter: Parameter, grad: FloatArray) -> list[Step]:
        """Return the shrinking of the weights and one step."""
        data, steps = parameter.data, self._adapted(parameter, grad)
        return [Step("multiply", data, data, DECAY), *steps] if data.ndim >= 2 else steps
