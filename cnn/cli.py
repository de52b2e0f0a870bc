"""The command line: ``python -m cnn train`` and ``python -m cnn summary``."""

from __future__ import annotations

import logging
import sys
from typing import Annotated, cast

import typer

import kernels
from cnn import data, models, optim, progress
from cnn import summary as summaries
from cnn.errors import NonFiniteLossError
from cnn.experiment import FILES, Experiment, SettingError, Settings, option
from kernels import dispatch

# click's UsageError, the base of all complaints about a command line. New versions of typer carry
# a click of their own, so that `import click` may fail or give another class.
USAGE_ERROR = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[1])
BAD_INPUT, INTERRUPTED = 2, 130
DEFAULTS = Settings()

app = typer.Typer(
    name="cnn", add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
)


@app.callback()
def commands() -> None:
    """Train convolutional networks on the CPU."""


@app.command()
def train(
    backend: Annotated[
        str | None,
        typer.Option(
            help=f"One of: {', '.join(kernels.available_backends())}. If left out, "
            f"${dispatch.ENVIRONMENT_VARIABLE} or else {dispatch.DEFAULT_BACKEND}."
        ),
    ] = DEFAULTS.backend,
    dataset: Annotated[
        str, typer.Option(help=f"One of: {', '.join(data.DATASETS)}.")
    ] = DEFAULTS.dataset,
    model: Annotated[
        str, typer.Option(help=f"One of: {', '.join(models.MODELS)}.")
    ] = DEFAULTS.model,
    epochs: Annotated[int, typer.Option(help="How often each image is seen.")] = DEFAULTS.epochs,
    batch_size: Annotated[int, typer.Option(help="Images of a mini-batch.")] = DEFAULTS.batch_size,
    lr: Annotated[float, typer.Option(help="Learning rate.")] = DEFAULTS.lr,
    optimizer: Annotated[
        str, typer.Option(help=f"One of: {', '.join(optim.OPTIMIZERS)}.")
    ] = DEFAULTS.optimizer,
    seed: Annotated[
        int, typer.Option(help="Of the first weights and the order of the images.")
    ] = DEFAULTS.seed,
    threads: Annotated[
        int | None, typer.Option(help="At most so many; all CPUs if left out.")
    ] = DEFAULTS.threads,
    out: Annotated[str, typer.Option(help="Folder for the results.")] = DEFAULTS.out,
) -> None:
    """Train a network; leave metrics.json, model.safetensors and two pictures in OUT."""
    experiment = Experiment(
        Settings(
            backend=backend,
            dataset=dataset,
            model=model,
            epochs=epochs,
            batch_size=batch_size,
            lr=lr,
            optimizer=optimizer,
            seed=seed,
            threads=threads,
            out=out,
        )
    )
    _show_notes_of("kernels")
    with progress.for_stdout() as shown:
        history = experiment.run(shown)
    typer.echo(f"test accuracy {history[-1]['test_accuracy']:.2%} after epoch {epochs}")
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
) -> None:
    """Show a network's layers, shapes, parameters and floating-point operations."""
    from rich.console import Console

    arguments = {} if input_shape is None else {"input_shape": _image_shape(input_shape)}
    with option("--model, --input-shape, --num-classes"):
        built = models.create(model, num_classes=num_classes, **arguments)
    Console().print(summaries.table(summaries.summarize(built), model))


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code: 2, and one line on stderr, for bad input."""
    try:
        code = app(arguments, prog_name="python -m cnn", standalone_mode=False)
    except USAGE_ERROR as error:
        return _complain(error.format_message())
    except (SettingError, NonFiniteLossError, OSError) as error:
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
