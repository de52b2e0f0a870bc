"""A whole training in PyTorch, told by the settings of ``python -m cnn train``.

``python -m bench.contestants.torch_training SETTINGS.json`` trains as ``python -m cnn train`` with
those settings does: the same first weights, the same images in the same order, augmented by the
same code, and a test after each epoch. Network, optimiser and schedule are PyTorch's own, in the
memory format and with the optimiser kernels that are its fastest (channels_last, fused), on as many
threads as OMP_NUM_THREADS says.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

from bench.contestants.torch_networks import with_state
from cnn.arrays import FloatArray, IntArray
from cnn.batches import batch_count, mini_batches
from cnn.data import Split
from cnn.environment import process_seconds
from cnn.experiment import Experiment
from cnn.files import replacing
from cnn.optim import Optimizer
from cnn.results import METRICS
from cnn.settings import Settings

LAYOUT = torch.channels_last
TEST_BATCH = 256

functional = torch.nn.functional


class Training:
    """The state of a training in PyTorch.

    Parameters
    ----------
    experiment : Experiment
        Holds the data, the model with its first weights, and the optimiser's settings.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.experiment, self.settings = experiment, experiment.settings
        data, trainer = experiment.data, experiment.trainer
        self.module = with_state(trainer.model).to(memory_format=LAYOUT)
        self.optimizer = fastest(trainer.optimizer, self.module)
        steps = self.settings.epochs * batch_count(len(data.train.y), self.settings.batch_size)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, trainer.optimizer.lr, steps, cycle_momentum=False
        )

    def epochs(self) -> Iterator[dict[str, float]]:
        """Train; yield the figures of each epoch."""
        data = self.experiment.data
        for epoch in range(1, self.settings.epochs + 1):
            order = self.experiment.trainer.order.permutation(len(data.train.y))
            seconds = loss = 0.0
            for chosen in mini_batches(order, self.settings.batch_size):
                started = perf_counter()
                loss += self.step(data.train.x[chosen], data.train.y[chosen]) * len(chosen)
                seconds += perf_counter() - started
            figures = {"epoch": epoch, "train_loss": loss / len(order), "seconds": seconds}
            for name, split in (("test", data.test), ("validation", data.validation)):
                if split is not None:
                    figures[f"{name}_accuracy"] = self.accuracy(split)
            yield figures

    def step(self, images: FloatArray, labels: IntArray) -> float:
        """Train on one mini-batch; return its mean loss."""
        if self.experiment.augment is not None:
            images = self.experiment.augment(images)
        self.module.train()
        self.optimizer.zero_grad(set_to_none=True)
        loss = functional.cross_entropy(self.module(_images(images)), torch.from_numpy(labels))
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        return float(loss.detach())

    def accuracy(self, split: Split) -> float:
        """Return the share of right predictions in inference mode."""
        self.module.eval()
        right = 0
        with torch.inference_mode():
            for start in range(0, len(split.y), TEST_BATCH):
                logits = self.module(_images(split.x[start : start + TEST_BATCH]))
                labels = torch.from_numpy(split.y[start : start + TEST_BATCH])
                right += int((logits.argmax(1) == labels).sum())
        return right / len(split.y)


def fastest(optimizer: Optimizer, module: Any) -> Any:
    """Return PyTorch's optimiser with the settings of one of ours.

    AdamW decays weights, not biases and batch-norm, as ours does.
    """
    about = optimizer.describe()
    kind = getattr(torch.optim, about.pop("name"))
    vectors = [p for p in module.parameters() if p.ndim < 2]
    matrices = [p for p in module.parameters() if p.ndim >= 2]
    exempt = {"weight_decay": 0.0} if kind is torch.optim.AdamW else {}
    return kind([{"params": matrices}, {"params": vectors, **exempt}], fused=True, **about)


def _images(x: FloatArray) -> Any:
    return torch.from_numpy(np.ascontiguousarray(x)).contiguous(memory_format=LAYOUT)


def main() -> None:
    """Train, show each epoch, and leave metrics in the folder that the settings name."""
    settings = Settings(**json.loads(Path(sys.argv[1]).read_text()))
    unlike = [n for n in ("clip_norm", "warmup", "early_stopping") if getattr(settings, n)]
    if unlike or settings.schedule != "one-cycle" or settings.model != "mnist_cnn":
        raise SystemExit("error: PyTorch is given mnist_cnn and one-cycle, with nothing around it")
    experiment = Experiment(settings)
    history = []
    for figures in Training(experiment).epochs():
        history.append(figures)
        print(figures, flush=True)
    with replacing(experiment.folder / METRICS) as temporary:
        about = {"seconds_total": process_seconds(), "epochs": history}
        temporary.write_text(json.dumps(about, indent=2) + "\n")


if __name__ == "__main__":
    main()
