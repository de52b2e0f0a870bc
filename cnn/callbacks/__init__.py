"""Callbacks for ``cnn.Trainer.fit(..., callbacks=[...])``: saving, stopping, logging.

Your own is a subclass of :class:`cnn.Observer`, which says what it may be told of:

>>> import cnn
>>> class StopWhenRight(cnn.Observer):
...     def on_start(self, fit):
...         self.fit = fit
...     def on_epoch(self, metrics):
...         if metrics["train_accuracy"] == 1:
...             self.fit.stop()
"""

from cnn.callbacks.checkpoints import BestModel, Checkpoint
from cnn.callbacks.early_stopping import EarlyStopping
from cnn.callbacks.logs import CSVLog, JSONLinesLog
from cnn.callbacks.tensorboard import TensorBoard

__all__ = ["BestModel", "CSVLog", "Checkpoint", "EarlyStopping", "JSONLinesLog", "TensorBoard"]
