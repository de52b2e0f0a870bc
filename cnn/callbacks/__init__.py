"""Callbacks for ``cnn.Trainer.fit(..., callbacks=[...])``: saving, stopping, logging.

Your own is a subclass of :class:`cnn.Observer`.
"""

from cnn.callbacks.checkpoints import BestModel, Checkpoint
from cnn.callbacks.early_stopping import EarlyStopping
from cnn.callbacks.logs import CSVLog, JSONLinesLog
from cnn.callbacks.tensorboard import TensorBoard

__all__ = ["BestModel", "CSVLog", "Checkpoint", "EarlyStopping", "JSONLinesLog", "TensorBoard"]
