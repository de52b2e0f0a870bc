"""The command line: ``python -m cnn`` train, summary and gradcheck."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from typing import Annotated, cast

import typer

import kernels
from cnn import data, gradcheck, models, optim, progress
from cnn import summary as summaries
from cnn.errors import NonFiniteLossError
from cnn.experiment import FILES, LOGS, Experiment
from cnn.fusion import plans
from cnn.settings import SettingError, Settings, count, option
from cnn.storage import StorageError
from kernels import dispatch

# click's UsageError, the base of all complaints about a command line. New versions of typer carry
# a click of their own, so that `import click` may fail or give another class.
USAGE_ERROR = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[1])
FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130
DEFAULTS = Settings()

app = typer.Typer(
    name="cnn", add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
)


@app.callback()
def commands() -> None:
    """Train convolutional networks on the CPU."""


def _names(table: Iterable[str]) -> str:
    return f"One of: {', '.join(table)}."


@app.command()
def train(
    backend: Annotated[
        str | None,
        typer.Option(
            help=f"{_names(kernels.available_backends())} If left out, "
            f"${dispatch.ENVIRONMENT_VARIABLE} or else {dispatch.DEFAULT_BACKEND}."
        ),
    ] = DEFAULTS.backend,
    dataset: Annotated[
        str,
        typer.Option(
            help=f"{_names(data.DATASETS)} Or a path: a folder of IDX files, a .npz file, "
            "a folder of images by class."
        ),
    ] = DEFAULTS.dataset,
    normalize: Annotated[
        bool, typer.Option("--normalize", help="Mean 0 and deviation 1 in each channel.")
    ] = DEFAULTS.normalize,
    shift: Annotated[
        float, typer.Option(help="Shift training images at random, so many pixels at most.")
    ] = DEFAULTS.shift,
    rotation: Annotated[
        float, typer.Option(help="Turn training images at random, so many degrees at most.")
    ] = DEFAULTS.rotation,
    validation: Annotated[
        float, typer.Option(help="Share of the training images to select by, as in 0.1.")
    ] = DEFAULTS.validation,
    model: Annotated[str, typer.Option(help=_names(models.MODELS))] = DEFAULTS.model,
    epochs: Annotated[int, typer.Option(help="How often each image is seen.")] = DEFAULTS.epochs,
    batch_size: Annotated[int, typer.Option(help="Images of a mini-batch.")] = DEFAULTS.batch_size,
    optimizer: Annotated[str, typer.Option(help=_names(optim.OPTIMIZERS))] = DEFAULTS.optimizer,
    lr: Annotated[
        float | None,
        typer.Option(help="Learning rate; if left out, 0.01 for sgd, 0.001 for the others."),
    ] = DEFAULTS.lr,
    momentum: Annotated[float, typer.Option(help="Of sgd.")] = DEFAULTS.momentum,
    nesterov: Annotated[
        bool, typer.Option("--nesterov", help="Nesterov's momentum.")
    ] = DEFAULTS.nesterov,
    weight_decay: Annotated[
        float | None, typer.Option(help="If left out, 0.01 for adamw, 0 for the others.")
    ] = DEFAULTS.weight_decay,
    schedule: Annotated[
        str,
        typer.Option(
            help=f"{_names(optim.SCHEDULES)} step divides the learning rate by 10 after each "
            "third of the training; the rate is one-cycle's peak."
        ),
    ] = DEFAULTS.schedule,
    warmup: Annotated[
        int, typer.Option(help="Steps in which the learning rate rises at first.")
    ] = DEFAULTS.warmup,
    clip_norm: Annotated[
        float | None, typer.Option(help="Largest norm of all gradients together.")
    ] = DEFAULTS.clip_norm,
    early_stopping: Annotated[
        int | None,
        typer.Option(
            help="Stop after so many epochs without a lower validation loss, and go back to the "
            "best weights."
        ),
    ] = DEFAULTS.early_stopping,
    seed: Annotated[
        int, typer.Option(help="Of first weights, order of images, and all else that is random.")
    ] = DEFAULTS.seed,
    threads: Annotated[
        int | None, typer.Option(help="At most so many; all CPUs if left out.")
    ] = DEFAULTS.threads,
    fuse: Annotated[
        bool | None,
        typer.Option(
            "--fuse/--no-fuse",
            help="Compute layers together; if left out, where the backend gains by it.",
        ),
    ] = DEFAULTS.fuse,
    out: Annotated[str, typer.Option(help="Folder for the results.")] = DEFAULTS.out,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from OUT's checkpoint, if there is one.")
    ] = DEFAULTS.resume,
    checkpoint_every: Annotated[
        str, typer.Option(help="Save a checkpoint so often: seconds, as in 60s, or steps.")
    ] = DEFAULTS.checkpoint_every,
    log: Annotated[
        list[str] | None,
        typer.Option(help=f"{_names(LOGS)} May be given more than once."),
    ] = None,
) -> None:
    """Train a network; leave metrics, the model, pictures and a checkpoint in OUT."""
    options = {name: value for name, value in locals().items() if name != "log"}  # the arguments
    _show_notes_of("kernels")
    _show_notes_of("cnn")
    experiment = Experiment(Settings(**options, log=tuple(log or ())))
    with progress.for_stdout() as shown:
        outcome = experiment.run(shown)
    typer.echo(f"test accuracy {outcome.test_accuracy:.2%} after epoch {outcome.epoch}")
    typer.echo(f"{experiment.folder}: {', '.join(FILES)}")


@app.command()
def summary(
    model: Annotated[
        str, typer.Option(help=f"One of: {', '.join(models.MODELS)}.")
    ] = DEFAULTS.model,
    input_shape: Annotated[
        str | None, typer.Option(help="One image, as in 3x32x32; the model's own if left out.")
    ] = None,
    num_classes: Annotated[int, typer.Option(help="Outputs.")] = 10,
    batch_size: Annotated[
        int, typer.Option(help="Images of a mini-batch, for the memory plan.")
    ] = DEFAULTS.batch_size,
) -> None:
    """Show a network's layers, and the stages and memory of a fused training step."""
    from rich.console import Console

    arguments = {} if input_shape is None else {"input_shape": _image_shape(input_shape)}
    with option("--model, --input-shape, --num-classes"):
        built = models.create(model, num_classes=num_classes, **arguments)
    plan = plans.plan(built, count("--batch-size", batch_size, 2))
    console = Console()
    console.print(summaries.table(summaries.summarize(built), model))
    console.print(plans.table(plan))


@app.command("gradcheck")
def check_gradients(
    backend: Annotated[str | None, typer.Option(help="As for train.")] = DEFAULTS.backend,
    seed: Annotated[int, typer.Option(help="Of the values.")] = 0,
) -> None:
    """Compare every layer's gradients with finite differences and the naive backend."""
    _show_notes_of("kernels")
    try:
        passed = gradcheck.run(backend, seed)
    except (kernels.UnknownBackendError, kernels.ShapeError) as error:
        raise SettingError(str(error)) from error
    if not passed:
        raise typer.Exit(FAILED)


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return 0, 1 if a check failed, or 2, and one line on stderr, for bad input."""
    try:
        code = app(arguments, prog_name="python -m cnn", standalone_mode=False)
    except USAGE_ERROR as error:
        return _complain(error.format_message())
    except (SettingError, NonFiniteLossError, StorageError, OSError) as error:
        return _complain(str(error))
    except typer.Abort:  # how older versions of typer pass Ctrl-C on
        code = INTERRUPTED
    if code == INTERRUPTED:
        return _complain("interrupted", INTERRUPTED)
    return code if isinstance(code, int) else 0


def _image_shape(text: str) -> tuple[int, ...]:
    sizes = text.lower().split("x")
    if len(sizes) != 3 or not all(size.isdecimal() for size in sizes):
        raise SettingError(f"--input-shape must be CxHxW, as in 3x32x32; got {text!r}")
    return tuple(int(size) for size in sizes)


class _Notes(logging.Handler):
    """Prints what is logged as plain lines, above a progress bar if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        typer.echo(record.getMessage())


def _show_notes_of(logger: str) -> None:
    chosen = logging.getLogger(logger)
    chosen.setLevel(logging.INFO)
    if not any(isinstance(handler, _Notes) for handler in chosen.handlers):
        chosen.addHandler(_Notes())


def _complain(message: str, code: int = BAD_INPUT) -> int:
    print(f"error: {message}", file=sys.stderr)
    return code
