"""Passes through a program's stages, captured when they are first made."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import chain, pairwise
from operator import is_
from typing import ClassVar

from cnn.arrays import FloatArray
from cnn.changes import latest
from cnn.fusion.holding import Holder, holding
from cnn.fusion.stages import Stage
from cnn.fusion.values import Norm
from cnn.layers import Sequential
from cnn.optim.base import Optimizer
from cnn.optim.elementwise import Elementwise
from cnn.parameter import Parameter
from cnn.rollback import Restored
from kernels import capturing, fused
from kernels.capturing import Capture, capture


class Pass(ABC):
    """What stages do one after the other.

    Parameters
    ----------
    stages : list of Stage
        In order.
    repeats : bool
        Whether their arrays are the same each time, so that it can be captured.
    steady : bool
        Whether it is done with the same weights most of the time.
    """

    _gradients: ClassVar[bool] = False

    def __init__(self, stages: list[Stage], repeats: bool, *, steady: bool = False) -> None:
        self._stages, self._steady = stages, steady
        self._captured: Capture | None = None
        self._holding: list[Callable[[], tuple[object, ...]]] = []
        self._held: list[object] = []
        self._looked = 0
        self._can_be_captured = repeats

    def run(self) -> None:
        """Do it, again if it has been captured and nothing has been replaced since."""
        captured = self._still()
        if captured is not None:
            captured.replay()
        elif self._can_be_captured:
            self._capture()
        else:
            self._do()

    @abstractmethod
    def _do(self) -> None:
        """Do it, in single calls."""

    def _capture(self) -> None:
        self._captured = capture(self._do, steady=self._steady)
        self._can_be_captured = self._captured is not None
        self._holding = [holding(each, gradients=self._gradients) for each in self._layers()]
        self._held = self._things()

    def _still(self) -> Capture | None:
        """Return what was captured, if all it holds on to is still there."""
        change = latest()
        if self._captured is None or (change == self._looked and not self._gradients):
            return self._captured
        try:
            now = self._things()
        except AttributeError:
            return None
        same = len(now) == len(self._held) and all(map(is_, now, self._held))
        self._looked = change if same else 0
        return self._captured if same else None

    def _layers(self) -> list[Holder]:
        return [layer for stage in self._stages for layer in stage.layers()]

    def _things(self) -> list[object]:
        return list(chain.from_iterable([look_up() for look_up in self._holding]))


class ForwardPass(Pass):
    """The forward pass.

    Parameters
    ----------
    stages : list of Stage
        In order.
    repeats : bool
        As for any.
    norms : list of Norm
        Those that normalise by running statistics.
    loss : callable, optional
        What computes the loss.
    """

    def __init__(
        self,
        stages: list[Stage],
        repeats: bool,
        norms: list[Norm],
        loss: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(stages, repeats, steady=loss is None)
        self._norms, self._loss = norms, loss

    def _do(self) -> None:
        for norm in self._norms:
            norm.take_running()
        for stage in self._stages:
            stage.forward()
        if self._loss is not None:
            self._loss()

    def _layers(self) -> list[Holder]:
        return [*super()._layers(), *(norm.layer for norm in self._norms)]


class BackwardPass(Pass):
    """The backward pass; its stages are in reverse."""

    _gradients = True

    def _do(self) -> None:
        for stage in self._stages:
            stage.backward()
            stage.add_up()


class UpdatePass(Pass):
    """A backward pass in which an optimiser updates the model: linear layers while it goes on.

    Parameters
    ----------
    stages : list of Stage
        In reverse.
    repeats : bool
        As for any.
    model : Sequential
        Whose parameters are updated.
    """

    _gradients = True

    def __init__(self, stages: list[Stage], repeats: bool, model: Sequential) -> None:
        super().__init__(stages, repeats)
        self._model = model
        self._optimizer: Elementwise
        self._settings: tuple[object, ...]

    def run_with(self, optimizer: Optimizer) -> bool:
        """Take a step of an optimiser if all of it can be captured; else do nothing.

        A replay runs nothing of the user's and does not fail halfway. If the step that is captured
        does, it leaves no trace.

        Returns
        -------
        bool
            Whether it was taken.
        """
        if not (self._can_be_captured and isinstance(optimizer, Elementwise)):
            return False
        if optimizer.overridden or not capturing.offered():
            return False
        before = optimizer.steps
        taken = False
        try:
            taken = self._step(optimizer)
        finally:
            if not taken:
                optimizer.steps = before
        return taken

    def _step(self, optimizer: Elementwise) -> bool:
        optimizer.begin()
        self._optimizer, self._settings = optimizer, (optimizer.scalars, *optimizer.form())
        captured = self._still()
        if captured is not None:
            captured.replay()
            return True
        parameters = self._model.parameters()
        data = [parameter.data for parameter in parameters]
        if not (optimizer.fits(parameters) and _are_apart(data)):
            return False
        kept = [array for each in parameters for array in optimizer.kept(each).values()]
        with Restored([*data, *kept]):
            self._capture()
        return True

    def _do(self) -> None:
        optimizer = self._optimizer
        updated: set[Parameter] = set()
        for stage in self._stages:
            updated.update(stage.backward_and_update(optimizer))
            stage.add_up()
        for parameter in self._model.parameters():
            if parameter not in updated:
                steps = optimizer.rule(parameter, parameter.grad_array())
                fused.elementwise(steps, optimizer.scalars)

    def _things(self) -> list[object]:
        return [*super()._things(), self._optimizer, *self._settings]


def _are_apart(arrays: Sequence[FloatArray]) -> bool:
    """Tell whether C-contiguous arrays share no memory."""
    spans = sorted((array.ctypes.data, array.ctypes.data + array.nbytes) for array in arrays)
    return all(end <= begin for (_, end), (begin, _) in pairwise(spans))
