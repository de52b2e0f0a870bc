"""``python -m bench.training_run``: what it says of memory."""

import subprocess
import sys

import numpy as np
import pytest

from bench import turns

MIB = 2**20


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux for its memory")
def test_what_the_process_before_held_does_not_count():
    ballast = np.ones(300 * MIB, np.uint8)
    code = (
        "from bench.training_run import memory_bytes; import numpy as np;"
        "before = memory_bytes('VmHWM'); np.ones(64 * 2**20, np.uint8);"
        "print(before, memory_bytes('VmHWM'), memory_bytes('VmRSS'))"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=turns.ROOT, stdout=subprocess.PIPE, check=True, text=True
    )
    before, peak, now = (int(word) for word in process.stdout.split())
    assert now < before + 32 * MIB < peak < ballast.nbytes
