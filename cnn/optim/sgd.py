"""Stochastic gradient descent, with momentum and weight decay."""

from __future__ import annotations

from cnn.arrays import FloatArray
from cnn.optim.base import Optimizer, fraction
from cnn.parameter import Parameter
from kernels.elementwise import Step, Temporary
from kernels.ops import checks

STEP, DECAYED = Temporary(0), Temporary(1)


class SGD(Optimizer):
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

    def update(self, parameter: Parameter, grad: FloatArray) -> None:
        """Take one step downhill."""
        data = parameter.data
        passed: FloatArray | Temporary = grad
        steps: list[Step] = []
        if self.weight_decay:
            steps += [Step("multiply", DECAYED, data, self.weight_decay)]
            steps += [Step("add", DECAYED, DECAYED, grad)]
            passed = DECAYED
        if self.momentum:
            velocity = self.kept(parameter)["velocity"]
            steps += [Step("multiply", velocity, velocity, self.momentum)]
            steps += [Step("add", velocity, velocity, passed)]
            if self.nesterov:
                steps += [Step("multiply", STEP, velocity, self.momentum)]
                steps += [Step("add", STEP, STEP, passed)]
                passed = STEP
            else:
                passed = velocity
        steps += [Step("multiply", STEP, passed, self.lr), Step("subtract", data, data, STEP)]
        self.compute(parameter, steps)
