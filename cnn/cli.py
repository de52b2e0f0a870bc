"""The command line: ``python -m cnn`` train, summary and gradcheck."""

from __future__ import annotations

import logging
import sys
from typing import cast

import typer

import kernels
from cnn import gradcheck, models, options, progress
from cnn import summary as summaries
from cnn.errors import NonFiniteLossError
from cnn.experiment import FILES, Experiment
from cnn.fusion import plans
from cnn.settings import SettingError, Settings, count, option
from cnn.storage import StorageError

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


@app.command()
def train(
    backend: options.Backend = DEFAULTS.backend,
    dataset: options.Dataset = DEFAULTS.dataset,
    normalize: options.Normalize = DEFAULTS.normalize,
    shift: options.Shift = DEFAULTS.shift,
    rotation: options.Rotation = DEFAULTS.rotation,
    validation: options.Validation = DEFAULTS.validation,
    model: options.Model = DEFAULTS.model,
    epochs: options.Epochs = DEFAULTS.epochs,
    batch_size: options.BatchSize = DEFAULTS.batch_size,
    optimizer: options.Optimizer = DEFAULTS.optimizer,
    lr: options.LearningRate = DEFAULTS.lr,
    momentum: options.Momentum = DEFAULTS.momentum,
    nesterov: options.Nesterov = DEFAULTS.nesterov,
    weight_decay: options.WeightDecay = DEFAULTS.weight_decay,
    schedule: options.Schedule = DEFAULTS.schedule,
    warmup: options.Warmup = DEFAULTS.warmup,
    clip_norm: options.ClipNorm = DEFAULTS.clip_norm,
    early_stopping: options.EarlyStopping = DEFAULTS.early_stopping,
    seed: options.Seed = DEFAULTS.seed,
    threads: options.Threads = DEFAULTS.threads,
    fuse: options.Fuse = DEFAULTS.fuse,
    out: options.Out = DEFAULTS.out,
    resume: options.Resume = DEFAULTS.resume,
    checkpoint_every: options.CheckpointEvery = DEFAULTS.checkpoint_every,
    log: options.Log = None,
) -> None:
    """Train a network; leave metrics, the model, pictures and a checkpoint in OUT."""
    # locals() are the options, by their names in Settings
    settings = Settings(**locals() | {"log": tuple(log or ())})
    _show_notes_of("kernels")
    _show_notes_of("cnn")
    experiment = Experiment(settings)
    with progress.for_stdout() as shown:
        outcome = experiment.run(shown)
    typer.echo(f"test accuracy {outcome.test_accuracy:.2%} after epoch {outcome.epoch}")
    typer.echo(f"{experiment.folder}: {', '.join(FILES)}")


@app.command()
def summary(
    model: options.Model = DEFAULTS.model,
    input_shape: options.InputShape = None,
    num_classes: options.NumClasses = 10,
    batch_size: options.PlannedBatchSize = DEFAULTS.batch_size,
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
    backend: options.CheckedBackend = DEFAULTS.backend,
    seed: options.CheckSeed = 0,
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
