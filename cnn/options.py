"""The options of the command line: their types, names and help; ``Settings`` has the defaults."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from typer import Option

import kernels
from cnn import data, models, optim
from cnn.experiment import LOGS
from kernels import dispatch


def _names(table: Iterable[str]) -> str:
    return f"One of: {', '.join(table)}."


Backend = Annotated[
    str | None,
    Option(
        help=f"{_names(kernels.available_backends())} If left out, "
        f"${dispatch.ENVIRONMENT_VARIABLE} or else {dispatch.DEFAULT_BACKEND}."
    ),
]

# The data
Dataset = Annotated[
    str,
    Option(
        help=f"{_names(data.DATASETS)} Or a path: a folder of IDX files, a .npz file, "
        "a folder of images by class."
    ),
]
Normalize = Annotated[bool, Option("--normalize", help="Mean 0 and deviation 1 in each channel.")]
Shift = Annotated[float, Option(help="Shift training images at random, so many pixels at most.")]
Rotation = Annotated[float, Option(help="Turn training images at random, so many degrees at most.")]
Validation = Annotated[float, Option(help="Share of the training images to select by, as in 0.1.")]

# The network and its training
Model = Annotated[str, Option(help=_names(models.MODELS))]
Epochs = Annotated[int, Option(help="How often each image is seen.")]
BatchSize = Annotated[int, Option(help="Images of a mini-batch.")]
Optimizer = Annotated[str, Option(help=_names(optim.OPTIMIZERS))]
LearningRate = Annotated[
    float | None, Option(help="Learning rate; if left out, 0.01 for sgd, 0.001 for the others.")
]
Momentum = Annotated[float, Option(help="Of sgd.")]
Nesterov = Annotated[bool, Option("--nesterov", help="Nesterov's momentum.")]
WeightDecay = Annotated[float | None, Option(help="If left out, 0.01 for adamw, 0 for the others.")]
Schedule = Annotated[
    str,
    Option(
        help=f"{_names(optim.SCHEDULES)} step divides the learning rate by 10 after each "
        "third of the training; the rate is one-cycle's peak."
    ),
]
Warmup = Annotated[int, Option(help="Steps in which the learning rate rises at first.")]
ClipNorm = Annotated[float | None, Option(help="Largest norm of all gradients together.")]
EarlyStopping = Annotated[
    int | None,
    Option(
        help="Stop after so many epochs without a lower validation loss, and go back to the "
        "best weights."
    ),
]

# How it is run
Seed = Annotated[
    int, Option(help="Of first weights, order of images, and all else that is random.")
]
Threads = Annotated[int | None, Option(help="At most so many; all CPUs if left out.")]
Fuse = Annotated[
    bool | None,
    Option(
        "--fuse/--no-fuse",
        help="Compute layers together; if left out, where the backend gains by it.",
    ),
]
Out = Annotated[str, Option(help="Folder for the results.")]
Resume = Annotated[
    bool, Option("--resume", help="Continue from OUT's checkpoint, if there is one.")
]
CheckpointEvery = Annotated[
    str, Option(help="Save a checkpoint so often: seconds, as in 60s, or steps.")
]
Log = Annotated[list[str] | None, Option(help=f"{_names(LOGS)} May be given more than once.")]

# Of the other commands
InputShape = Annotated[
    str | None, Option(help="One image, as in 3x32x32; the model's own if left out.")
]
NumClasses = Annotated[int, Option(help="Outputs.")]
PlannedBatchSize = Annotated[int, Option(help="Images of a mini-batch, for the memory plan.")]
CheckedBackend = Annotated[str | None, Option(help="As for train.")]
CheckSeed = Annotated[int, Option(help="Of the values.")]
