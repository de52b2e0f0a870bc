"""Code in a process of its own, where a crash or a hang is a failure and nothing more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECONDS = 180
"""Longer than any of this takes on a slow machine with nothing compiled."""


def start(
    code: str, *, cwd: Path = ROOT, stdin: int | None = None, **environment: str
) -> subprocess.Popen[str]:
    """Start ``python -c code``, by default in a folder where our packages can be imported."""
    return subprocess.Popen(
        [sys.executable, "-X", "faulthandler", "-c", code],
        cwd=cwd,
        env=os.environ | environment,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Wait for a process; return what it printed and what it complained about."""
    try:
        out, complaints = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # its children too, which hold the pipes
        out, complaints = process.communicate()
        pytest.fail(f"no end within {SECONDS} s\n{out}\n{complaints}")
    if process.returncode != 0:
        pytest.fail(f"ended with {process.returncode}\n{out}\n{complaints}")
    return out, complaints


def run(code: str, *, cwd: Path = ROOT, **environment: str) -> tuple[str, str]:
    """Start a process and wait for it."""
    return finish(start(code, cwd=cwd, **environment))


def run_all(codes: Sequence[str], **environment: str) -> list[str]:
    """Run processes side by side; return what they printed."""
    started = [start(code, **environment) for code in codes]
    return [finish(process)[0] for process in started]
