"""Layers one after another: a whole model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import kernels
from cnn.arrays import FLOAT_DTYPES, FloatArray
from cnn.layers.activation import Softmax
from cnn.layers.base import Layer
from cnn.layers.composite import Composite
from cnn.scaling import Scaling
from kernels import fused
from kernels.ops import checks

if TYPE_CHECKING:
    from cnn.fusion.inference import Inference


@dataclass(frozen=True, slots=True)
class Architecture:
    """How to build a model again: its name in ``cnn.models.MODELS``, and JSON-ready arguments."""

    name: str
    kwargs: Mapping[str, Any]


class Sequential(Composite):
    """Layers applied in order. Its state has the names of PyTorch's ``nn.Sequential``.

    Parameters
    ----------
    *layers : Layer
        First to last.
    architecture : Architecture, optional
        How it was built; ``cnn.save`` needs it.

    Attributes
    ----------
    layers : list of Layer
        First to last.
    architecture : Architecture or None
        How it was built.
    scaling : Scaling or None
        How raw pixels become this model's input; set by ``cnn.load``.
    class_names : tuple of str, or None
        What its outputs stand for; set by ``cnn.load``.

    Raises
    ------
    TypeError
        If parameters are of different dtypes, or something else than a layer was given.
    """

    def __init__(self, *layers: Layer, architecture: Architecture | None = None) -> None:
        for position, layer in enumerate(layers):
            if not isinstance(layer, Layer):
                raise TypeError(f"layer {position} must be a cnn.Layer, got {layer!r}")
        self.layers = list(layers)
        self.architecture = architecture
        self.scaling: Scaling | None = None
        self.class_names: tuple[str, ...] | None = None
        self._inference: dict[bool, Inference] = {}
        dtypes = sorted({str(parameter.data.dtype) for parameter in self.parameters()})
        if len(dtypes) > 1:
            raise TypeError(f"parameters must be of one dtype, got {' and '.join(dtypes)}")

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the parameters; float32 if there are none."""
        own = self._parameters_dtype()
        return np.dtype(np.float32) if own is None else own

    def forward(self, x: FloatArray, *, training: bool) -> FloatArray:
        """Apply all layers; see :meth:`Layer.forward`.

        Parameters
        ----------
        x : (N, ...) array of float32 or float64
            Converted to the model's dtype if it has the other one.
        training : bool
            As for :meth:`Layer.forward`.

        Raises
        ------
        kernels.ShapeError, TypeError
            If x does not fit.
        """
        x = self.as_input(x)
        for layer in self.layers:
            x = layer.forward(x, training=training)
        return x

    def backward(self, grad_y: FloatArray) -> FloatArray:
        """Run backward through all layers, last to first; see :meth:`Layer.backward`."""
        for layer in reversed(self.layers):
            grad_y = layer.backward(grad_y)
        return grad_y

    def predict_proba(self, x: FloatArray, batch_size: int = 256) -> FloatArray:
        """Return the probability of each class, in inference mode.

        Parameters
        ----------
        x : (N, ...) array of float32 or float64
            Scaled as the training data were; N may be 0.
        batch_size : int
            Images taken at a time, which bounds the memory.

        Returns
        -------
        (N, K) array of the model's dtype
            Softmax of the outputs (which are left as they are if the last layer is a softmax).

        Raises
        ------
        kernels.ShapeError, TypeError
            If an argument does not fit.
        """
        size = checks.integer("batch_size", batch_size, 1)
        whole = np.ndim(x) == 0 or len(x) <= size
        batches = [x] if whole else [x[i : i + size] for i in range(0, len(x), size)]
        found = self.outputs(batches, probabilities=True)
        return found[0] if whole else np.concatenate(found)

    def predict(self, x: FloatArray, batch_size: int = 256) -> NDArray[np.int64]:
        """Return the most probable class of each image, (N,); see :meth:`predict_proba`."""
        classes: NDArray[np.int64] = self.predict_proba(x, batch_size).argmax(axis=1)
        return classes

    def named_children(self) -> dict[str, Layer]:
        """Return the layers, named by their positions."""
        return {str(position): layer for position, layer in enumerate(self.layers)}

    def outputs(
        self,
        batches: Iterable[FloatArray],
        *,
        fuse: bool | None = None,
        probabilities: bool = False,
    ) -> list[FloatArray]:
        """Return the outputs of each batch in inference mode.

        Fused, batch-norm and ReLU are computed while the next layer reads, and all arrays but
        the outputs are reused: see :mod:`cnn.fusion`.

        Parameters
        ----------
        batches : iterable of (N, ...) array of float32 or float64
            Each as for :meth:`forward`.
        fuse : bool, optional
            As for :class:`cnn.Trainer`.
        probabilities : bool
            Take softmax of the model's outputs, unless that is its last layer already.

        Raises
        ------
        kernels.ShapeError, TypeError
            If a batch does not fit.
        """
        is_softmax = bool(self.layers) and isinstance(self.layers[-1], Softmax)
        softmax = probabilities and not is_softmax
        if fuses(self, fuse):
            return self._fused(softmax).outputs(self, map(self.as_input, batches))
        found = (self.forward(x, training=False) for x in batches)
        return [kernels.softmax(y) if softmax else np.copy(y) for y in found]

    def _fused(self, softmax: bool) -> Inference:
        if softmax not in self._inference:
            from cnn.fusion.inference import Inference

            self._inference[softmax] = Inference(*([Softmax()] if softmax else []))
        return self._inference[softmax]

    def as_input(self, x: FloatArray) -> FloatArray:
        """Check that x is a batch of floating-point numbers; return it in the model's dtype.

        Raises
        ------
        kernels.ShapeError, TypeError
            If it is something else.
        """
        x = np.asarray(x)
        if x.dtype not in FLOAT_DTYPES:
            raise TypeError(
                f"x must be of float32 or float64 (pixels scaled to [0, 1]), got {x.dtype}"
            )
        if x.ndim == 0:
            raise kernels.ShapeError("x must have 1 or more dimensions, got a single number")
        own = self._parameters_dtype()
        return x if own is None else x.astype(own, copy=False)

    def _parameters_dtype(self) -> np.dtype[Any] | None:
        for layer in self.layers:
            for parameter in layer.parameters():
                return parameter.data.dtype
        return None


def fuses(model: Sequential, wanted: bool | None) -> bool:
    """Whether a model is to run as fused stages on the current backend.

    Parameters
    ----------
    model : Sequential
        One of a subclass runs by itself: it may have passes of its own.
    wanted : bool or None
        True: if the backend has fused operations. None: if it gains by them. False: no.
    """
    if wanted is False or type(model) is not Sequential:
        return False
    return fused.offered() if wanted else fused.gains()
