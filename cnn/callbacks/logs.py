"""The history of a training in files that other programs read, rewritten after each epoch.

Writing them anew costs nothing beside an epoch, and a run that was killed and resumed leaves the
same lines as one that never stopped.
"""

from __future__ import annotations

import csv
import io
import json
import os
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path

from cnn.files import remove_leftovers, replacing
from cnn.fitting import Fit
from cnn.monitoring import EpochMetrics, Observer


class _Log(Observer):
    """A text file made from the history.

    Parameters
    ----------
    path : str or os.PathLike
        The file to write or replace.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._fit: Fit | None = None

    @abstractmethod
    def text(self, history: Sequence[EpochMetrics]) -> str:
        """Return the file's contents."""

    def on_start(self, fit: Fit) -> None:
        """Write the epochs that a resumed training has behind it."""
        self._fit = fit
        remove_leftovers(self.path)
        self._write(fit.history)

    def on_epoch(self, metrics: EpochMetrics) -> None:
        """Write all epochs so far."""
        if self._fit is not None:
            self._write(self._fit.history)

    def _write(self, history: Sequence[EpochMetrics]) -> None:
        with replacing(self.path) as temporary:
            temporary.write_text(self.text(history))


class CSVLog(_Log):
    """A CSV file: a line of names, then one line for each epoch; see :class:`cnn.EpochMetrics`.

    Parameters
    ----------
    path : str or os.PathLike
        The file to write or replace.
    """

    def text(self, history: Sequence[EpochMetrics]) -> str:
        """Return the lines."""
        lines = io.StringIO()
        if history:
            writer = csv.DictWriter(lines, list(history[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(history)
        return lines.getvalue()


class JSONLinesLog(_Log):
    """A JSON-lines file: one JSON object for each epoch; see :class:`cnn.EpochMetrics`.

    Parameters
    ----------
    path : str or os.PathLike
        The file to write or replace.
    """

    def text(self, history: Sequence[EpochMetrics]) -> str:
        """Return the lines."""
        return "".join(json.dumps(metrics) + "\n" for metrics in history)
