"""Stochastic gradient descent, with momentum and weight decay."""

from __future__ import annotations

import numpy as np

from cnn.arrays import FloatArray
from cnn.optim.base import Optimizer, fraction
from cnn.parameter import Parameter
from kernels import fused
from kernels.ops import checks

LARGE = 2**16
"""Elements from which on an update goes through the backend, if it gains by it: on all cores and
without an intermediate array, to the same bits."""


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
        step = self.scratch(parameter)
        if self.weight_decay:
            decayed = self.scratch(parameter, 1)
            np.multiply(parameter.data, self.weight_decay, out=decayed)
            grad = np.add(decayed, grad, out=decayed)
        if self.momentum:
            velocity = self.kept(parameter)["velocity"]
            velocity *= self.momentum
            velocity += grad
            if self.nesterov:
                np.multiply(velocity, self.momentum, out=step)
                step += grad
                grad = step
            else:
                grad = velocity
        data = parameter.data
        if data.size >= LARGE and data.flags.c_contiguous and fused.gains():
            fused.add_scaled(data, grad, -self.lr)
        else:
            data -= np.multiply(grad, self.lr, out=step)
