"""CPU kernels for convolutional networks: three backends behind one interface.

NumPy arrays in, NumPy arrays out, float32 or float64, the same dtype throughout one call. Images
are logically NCHW and weights OIHW; memory strides are free. Dimension letters:

=======  =========================================
N        images of a batch
C        input channels
O        output channels
H, W     height and width of the input
OH, OW   height and width of the output
KH, KW   height and width of the window
I        inputs of a linear layer
K        classes
=======  =========================================

>>> import numpy as np, kernels
>>> x = np.ones((1, 1, 3, 3)); weight = np.ones((1, 1, 2, 2))
>>> kernels.conv2d(x, weight, backend="naive")[0, 0].tolist()
[[4.0, 4.0], [4.0, 4.0]]
"""

from typing import TYPE_CHECKING

from kernels.dispatch import (
    available_backends,
    get_backend,
    register_backend,
    set_backend,
    use_backend,
)
from kernels.errors import ShapeError, UnknownBackendError
from kernels.ops.activation import relu, relu_backward
from kernels.ops.convolution import (
    Conv2dGradients,
    conv2d,
    conv2d_backward,
    conv2d_backward_input,
    conv2d_backward_weight,
)
from kernels.ops.dense import LinearGradients, linear, linear_backward
from kernels.ops.loss import CrossEntropyResult, log_softmax, softmax, softmax_cross_entropy
from kernels.ops.normalization import (
    BatchNormGradients,
    BatchNormResult,
    batch_norm,
    batch_norm_backward,
    batch_norm_inference,
    batch_norm_inference_backward,
)
from kernels.ops.pooling import (
    MaxPool2dResult,
    avg_pool2d,
    avg_pool2d_backward,
    global_avg_pool2d,
    global_avg_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
)
from kernels.threads import get_num_threads, set_num_threads

if TYPE_CHECKING:
    from kernels.crosscheck import check_backend


def __getattr__(name: str) -> object:
    """Import the cross-check when it is asked for: it imports this module itself."""
    if name == "check_backend":
        from kernels.crosscheck import check_backend

        return check_backend
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "BatchNormGradients",
    "BatchNormResult",
    "Conv2dGradients",
    "CrossEntropyResult",
    "LinearGradients",
    "MaxPool2dResult",
    "ShapeError",
    "UnknownBackendError",
    "available_backends",
    "avg_pool2d",
    "avg_pool2d_backward",
    "batch_norm",
    "batch_norm_backward",
    "batch_norm_inference",
    "batch_norm_inference_backward",
    "check_backend",
    "conv2d",
    "conv2d_backward",
    "conv2d_backward_input",
    "conv2d_backward_weight",
    "get_backend",
    "get_num_threads",
    "global_avg_pool2d",
    "global_avg_pool2d_backward",
    "linear",
    "linear_backward",
    "log_softmax",
    "max_pool2d",
    "max_pool2d_backward",
    "register_backend",
    "relu",
    "relu_backward",
    "set_backend",
    "set_num_threads",
    "softmax",
    "softmax_cross_entropy",
    "use_backend",
]
