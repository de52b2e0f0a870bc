"""Stochastic gradient descent, with momentum and weight decay."""

from __future__ import annotations

from cnn.arrays import FloatArray
from cnn.optim.base import fraction
from cnn.optim.elementwise import Elementwise
from cnn.parameter import Parameter
from kernels.elementwise import Scalar, Step, Temporary
from kernels.ops import checks

STEP, DECAYED = Temporary(0), Temporary(1)
LR, MOMENTUM, DECAY = Scalar(0), Scalar(1), Scalar(2)


class SGD(Elementwise):
    """Stochastic gradient descent.

    With g the gradient and d the data of a parameter: ``g += weight_decay · d;
    v = momentum · v + g;  d -= lr · v``, and with Nesterov's momentum
    ``d -= lr · (g + momentum · v)``. The velocity v starts at 0. Robbins & Monro (1951);
    Sutskever et al., "On the importance of initialization and momentum" (ICML 2013).

    Parameters
    ----------
    lr : float
        Learning rate.
    momentum : float
        Share of the velocity that the next step keeps, below 1.
    weight_decay : float
        Factor of the L2 penalty on all parameters, biases too.
    nesterov : bool
        Look ahead; needs a momentum.

    Raises
    ------
    ValueError, TypeError
        If an argument does not fit.
    """

    settings = ("lr", "momentum", "weight_decay", "nesterov")

    def __init__(
        self,
        lr: float = 0.01,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(lr)
        self.momentum = fraction("momentum", momentum)
        self.weight_decay = checks.number("weight_decay", weight_decay)
        self.nesterov = bool(nesterov)
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0, got 0")
        self.slots = ("velocity",) if self.momentum else ()

    def numbers(self) -> tuple[float, ...]:
        """Return the settings."""
        return self.lr, self.momentum, self.weight_decay

    def form(self) -> tuple[object, ...]:
        """Return which of the settings are not 0."""
        return bool(self.momentum), bool(self.weight_decay), self.nesterov

    def rule(self, parameter: Parameter, grad: FloatArray) -> list[Step]:
        """Return one step downhill."""
        data = parameter.data
        passed: FloatArray | Temporary = grad
        steps: list[Step] = []
        if self.weight_decay:
            steps += [Step("multiply", DECAYED, data, DECAY), Step("add", DECAYED, DECAYED, grad)]
            passed = DECAYED
        if self.momentum:
            velocity = self.kept(parameter)["velocity"]
            steps += [Step("multiply", velocity, velocity, MOMENTUM)]
            steps += [Step("add", velocity, velocity, passed)]
            if self.nesterov:
                steps += [Step("multiply", STEP, velocity, MOMENTUM)]
                steps += [Step("add", STEP, STEP, passed)]
                passed = STEP
            else:
                passed = velocity
        return [*steps, Step("multiply", STEP, passed, LR), Step("subtract", data, data, STEP)]
