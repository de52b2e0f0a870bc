"""Models in one file: weights, architecture, input scaling and class names (safetensors)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict

from cnn import models, storage
from cnn.layers import Sequential
from cnn.scaling import Scaling


class ModelFileError(storage.StorageError):
    """A model file cannot be read, is damaged, or comes from elsewhere; the message names it."""

    what = "model"


def save(
    model: Sequential,
    path: str | os.PathLike[str],
    *,
    scaling: Scaling | None = None,
    class_names: Sequence[str] | None = None,
) -> None:
    """Write a model to a file that :func:`load` needs nothing else to read.

    The file appears whole or not at all, and equal models give equal files. Its format is
    safetensors, with the state under the names of ``model.state_dict()``. The metadata's entry
    ``cnn_kernels`` is a JSON object of ``format``, ``architecture``, ``scaling``, ``class_names``
    and a ``sha256`` of all that and the state.

    Parameters
    ----------
    model : Sequential
        Built by one of the functions of ``cnn.models``.
    path : str or os.PathLike
        The file to write or replace.
    scaling : Scaling, optional
        How raw pixels become its input; the model's own if left out.
    class_names : sequence of str, optional
        What its outputs stand for; the model's own if left out.

    Raises
    ------
    ValueError
        If the model does not know its architecture: a ``Sequential`` put together by hand.
    OSError
        If the file cannot be written.
    """
    if model.architecture is None:
        raise ValueError(
            "model has no architecture to save: build it by cnn.models, or keep its state_dict()"
        )
    scaling = model.scaling if scaling is None else scaling
    names = model.class_names if class_names is None else class_names
    state = model.state_dict()
    about = {
        "architecture": asdict(model.architecture),
        "scaling": None if scaling is None else scaling.as_json(),
        "class_names": None if names is None else list(names),
    }
    storage.write(path, state, about)


def load(path: str | os.PathLike[str]) -> Sequential:
    """Read a model that :func:`save` wrote.

    Returns
    -------
    Sequential
        With ``architecture``, and ``scaling`` and ``class_names`` if they were saved.

    Raises
    ------
    ModelFileError
        If the file is missing, cannot be read, is damaged or is not such a file.
    """
    name = os.fspath(path)
    state, about = storage.read(path, ModelFileError)
    try:
        model = models.create(about["architecture"]["name"], **about["architecture"]["kwargs"])
        model.load_state_dict(state)
        model.scaling = Scaling(**about["scaling"]) if about["scaling"] else None
        model.class_names = tuple(about["class_names"]) if about["class_names"] else None
    except KeyError as error:
        raise ModelFileError(f"{name}: cannot be used (metadata has no {error})") from error
    except (TypeError, ValueError) as error:
        raise ModelFileError(f"{name}: cannot be used ({error})") from error
    return model
