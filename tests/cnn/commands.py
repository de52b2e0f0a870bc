"""``python -m cnn`` in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cnn

QUICK = ["train", "--backend", "numpy", "--dataset", "digits", "--epochs", "1"]
TWICE = [*QUICK[:-1], "2", "--lr", "0.02", "--seed", "5", "--threads", "1"]
"""The run of the fixture ``finished``."""

ROOT = Path(cnn.__file__).parents[1]


def start(
    folder: Path, *arguments: str, env: Mapping[str, str] | None = None, **settings: Any
) -> subprocess.Popen[str]:
    """Start the command in a folder, with more in its environment, and read what it prints."""
    return subprocess.Popen(
        [sys.executable, "-m", "cnn", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | (env or {}),
        text=True,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | settings,
    )


def run(folder: Path, *arguments: str, **settings: Any) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    with start(folder, *arguments, **settings) as process:
        output, errors = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)
