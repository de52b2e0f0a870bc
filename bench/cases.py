"""The named cases: one table for tests and benchmarks.

``SMALL_*`` are for the oracle: tiny, and chosen so that each branch of a kernel is taken. The
others are layers of real networks at the batch size that their name ends in; ``SUITES`` groups
them.
"""

from __future__ import annotations

from bench.case_types import (
    INFERENCE,
    TRAINING_STEP,
    AvgPoolCase,
    BatchNormCase,
    Case,
    ConvCase,
    LinearCase,
    NetworkCase,
    PoolCase,
    ReluCase,
)

SMALL_CONVOLUTIONS = (
    ConvCase("one-element", 1, 1, 1, 1, 1, 1, 1),
    ConvCase("1x1", 2, 3, 4, 5, 7, 1, 1),
    ConvCase("3x3", 2, 3, 6, 5, 4, 3, 3),
    ConvCase("3x3-pad1", 2, 2, 6, 5, 3, 3, 3, padding=1),
    ConvCase("window-is-image", 2, 3, 4, 3, 5, 4, 3),
    ConvCase("pad-beyond-image", 1, 2, 2, 2, 3, 3, 3, padding=4),
    ConvCase("stride2", 2, 2, 7, 6, 3, 3, 3, stride=2, padding=1),
    ConvCase("stride-over-kernel", 1, 2, 9, 8, 3, 2, 1, stride=(4, 3)),
    ConvCase("stride-leaves-rest", 1, 2, 8, 7, 2, 3, 3, stride=3),
    ConvCase("rectangular", 1, 2, 5, 7, 3, 2, 3, stride=(2, 1), padding=(1, 0)),
    ConvCase("row-kernel", 1, 2, 3, 8, 2, 1, 5, padding=(0, 2)),
    ConvCase("channels-16-32", 1, 16, 4, 4, 32, 3, 3, padding=1),
    ConvCase("channels-17-33", 1, 17, 3, 3, 33, 2, 2),
    ConvCase("channels-1-16", 2, 1, 6, 6, 16, 3, 3, padding=1),
    ConvCase("many-pixels", 1, 1, 17, 9, 2, 3, 3, padding=1),
    ConvCase("empty-batch", 0, 2, 4, 4, 3, 3, 3, padding=1),
    ConvCase("dilation", 1, 2, 8, 9, 3, 3, 2, dilation=(2, 3), padding=2),
    ConvCase("dilation-stride", 1, 2, 9, 8, 3, 3, 3, dilation=2, stride=(2, 3), padding=1),
    ConvCase("groups", 2, 4, 5, 5, 6, 3, 3, padding=1, groups=2),
    ConvCase("depthwise", 1, 5, 6, 5, 5, 3, 3, stride=2, padding=1, groups=5),
    ConvCase("asymmetric-padding", 1, 2, 5, 6, 3, 3, 3, padding=((0, 2), (1, 0)), stride=2),
)

SMALL_POOLS = (
    PoolCase("one-element", 1, 1, 1, 1, 1),
    PoolCase("2x2", 2, 3, 6, 4, 2),
    PoolCase("2x2-leaves-rest", 2, 2, 7, 5, 2),
    PoolCase("overlapping", 2, 3, 7, 6, 3, stride=2, padding=1),
    PoolCase("stride1", 1, 2, 5, 5, 3, stride=1, padding=1),
    PoolCase("rectangular", 1, 2, 5, 8, (1, 3), stride=(2, 1)),
    PoolCase("channels-17", 1, 17, 4, 4, 2),
    PoolCase("padding-over-half", 1, 2, 5, 5, 3, stride=2, padding=2),
    PoolCase("dilation", 1, 2, 9, 8, 3, stride=1, padding=(3, 2), dilation=(2, 1)),
    PoolCase("ceil", 1, 2, 6, 8, 3, stride=2, padding=1, ceil_mode=True),
    PoolCase("empty-batch", 0, 2, 4, 4, 2),
)

BATCH_NORM_SHAPES = ((2, 1), (5, 3), (9, 17), (3, 2, 7), (2, 3, 4, 5), (4, 33, 3, 2), (700, 16))

LINEAR_SIZES = ((1, 1, 1), (2, 3, 5), (7, 33, 17), (33, 5, 130), (0, 4, 3))
"""(N, I, O)."""

MNIST_CONVOLUTIONS = (
    ConvCase("mnist-conv1-b32", 32, 1, 28, 28, 16, 3, 3, padding=1),
    ConvCase("mnist-conv2-b32", 32, 16, 28, 28, 32, 3, 3, padding=1),
)
MNIST_LINEAR = (
    LinearCase("mnist-fc1-b32", 32, 6272, 128),
    LinearCase("mnist-fc2-b32", 32, 128, 10),
)


def _mnist_cnn(N: int, passes: tuple[str, ...]) -> NetworkCase:
    layers = (*MNIST_CONVOLUTIONS, *MNIST_LINEAR)
    return NetworkCase(f"mnist-cnn-b{N}", N, "mnist_cnn", (1, 28, 28), layers, passes)


MNIST = (
    *MNIST_CONVOLUTIONS,
    BatchNormCase("mnist-bn1-b32", (32, 16, 28, 28)),
    BatchNormCase("mnist-bn2-b32", (32, 32, 28, 28)),
    BatchNormCase("mnist-bn3-b32", (32, 128)),
    ReluCase("mnist-relu2-b32", (32, 32, 28, 28)),
    PoolCase("mnist-pool-b32", 32, 32, 28, 28, 2),
    *MNIST_LINEAR,
    _mnist_cnn(1, (INFERENCE,)),
    _mnist_cnn(32, (TRAINING_STEP, INFERENCE)),
    _mnist_cnn(128, (TRAINING_STEP,)),
    _mnist_cnn(256, (INFERENCE,)),
)

NAIVE = (
    ConvCase("digits-conv1-b2", 2, 1, 8, 8, 16, 3, 3, padding=1),
    ConvCase("digits-conv2-b1", 1, 16, 8, 8, 32, 3, 3, padding=1),
    PoolCase("digits-pool-b8", 8, 32, 8, 8, 2),
    BatchNormCase("digits-bn2-b8", (8, 32, 8, 8)),
    ReluCase("digits-relu2-b8", (8, 32, 8, 8)),
    LinearCase("digits-fc2-b8", 8, 128, 10),
)
"""Layers of the same network on 8×8 digits, few enough for plain Python loops."""

LENET5 = (
    ConvCase("lenet5-conv1-b32", 32, 1, 28, 28, 6, 5, 5, padding=2),
    ConvCase("lenet5-conv2-b32", 32, 6, 14, 14, 16, 5, 5),
    AvgPoolCase("lenet5-pool1-b32", 32, 6, 28, 28, 2),
    AvgPoolCase("lenet5-pool2-b32", 32, 16, 10, 10, 2),
    LinearCase("lenet5-fc1-b32", 32, 400, 120),
    LinearCase("lenet5-fc2-b32", 32, 120, 84),
)
LENET5_NETWORKS = tuple(
    NetworkCase(
        f"lenet5-b{N}",
        N,
        "lenet5",
        (1, 28, 28),
        (
            *(layer for layer in LENET5 if isinstance(layer, ConvCase | LinearCase)),
            LinearCase("lenet5-fc3-b32", 32, 84, 10),
        ),
        (TRAINING_STEP,),
    )
    for N in (32, 128)
)

RESNET20 = (
    ConvCase("resnet20-first-b32", 32, 3, 32, 32, 16, 3, 3, padding=1),
    ConvCase("resnet20-c16-b32", 32, 16, 32, 32, 16, 3, 3, padding=1),
    ConvCase("resnet20-c16-c32-s2-b32", 32, 16, 32, 32, 32, 3, 3, stride=2, padding=1),
    ConvCase("resnet20-c32-b32", 32, 32, 16, 16, 32, 3, 3, padding=1),
    ConvCase("resnet20-c32-c64-s2-b32", 32, 32, 16, 16, 64, 3, 3, stride=2, padding=1),
    ConvCase("resnet20-c64-b32", 32, 64, 8, 8, 64, 3, 3, padding=1),
    BatchNormCase("resnet20-bn16-b32", (32, 16, 32, 32)),
    BatchNormCase("resnet20-bn64-b32", (32, 64, 8, 8)),
    ReluCase("resnet20-relu16-b32", (32, 16, 32, 32)),
    AvgPoolCase("resnet20-global-pool-b32", 32, 64, 8, 8),
)

_RESNET20_TIMES = {
    "resnet20-first-b32": 1,
    "resnet20-c16-b32": 6,
    "resnet20-c16-c32-s2-b32": 1,
    "resnet20-c32-b32": 5,
    "resnet20-c32-c64-s2-b32": 1,
    "resnet20-c64-b32": 5,
}
"""How often the network has each convolution."""

RESNET20_NETWORKS = (
    NetworkCase(
        "resnet20-b128",
        128,
        "resnet20",
        (3, 32, 32),
        (
            *(
                layer
                for layer in RESNET20
                if isinstance(layer, ConvCase)
                for _ in range(_RESNET20_TIMES[layer.id])
            ),
            LinearCase("resnet20-fc-b32", 32, 64, 10),
        ),
        (TRAINING_STEP,),
    ),
)

RESNET18 = (
    ConvCase("imagenet-conv1-b8", 8, 3, 224, 224, 64, 7, 7, stride=2, padding=3),
    ConvCase("resnet18-c64-b8", 8, 64, 56, 56, 64, 3, 3, padding=1),
    ConvCase("resnet18-c64-c128-s2-b8", 8, 64, 56, 56, 128, 3, 3, stride=2, padding=1),
    ConvCase("resnet18-c64-c128-1x1-s2-b8", 8, 64, 56, 56, 128, 1, 1, stride=2),
    ConvCase("resnet18-c128-b8", 8, 128, 28, 28, 128, 3, 3, padding=1),
    ConvCase("resnet18-c128-c256-s2-b8", 8, 128, 28, 28, 256, 3, 3, stride=2, padding=1),
    ConvCase("resnet18-c128-c256-1x1-s2-b8", 8, 128, 28, 28, 256, 1, 1, stride=2),
    ConvCase("resnet18-c256-b8", 8, 256, 14, 14, 256, 3, 3, padding=1),
    ConvCase("resnet18-c256-c512-s2-b8", 8, 256, 14, 14, 512, 3, 3, stride=2, padding=1),
    ConvCase("resnet18-c512-b8", 8, 512, 7, 7, 512, 3, 3, padding=1),
    PoolCase("resnet18-pool-b8", 8, 64, 112, 112, 3, stride=2, padding=1),
    BatchNormCase("resnet18-bn64-b8", (8, 64, 112, 112)),
    BatchNormCase("resnet18-bn512-b8", (8, 512, 7, 7)),
    ReluCase("resnet18-relu64-b8", (8, 64, 112, 112)),
    AvgPoolCase("resnet18-global-pool-b8", 8, 512, 7, 7),
    LinearCase("resnet18-fc-b8", 8, 512, 1000),
)

OTHERS = (
    ConvCase("resnet50-c64-c256-1x1-b8", 8, 64, 56, 56, 256, 1, 1),
    ConvCase("resnet50-c256-c64-1x1-b8", 8, 256, 56, 56, 64, 1, 1),
    ConvCase("resnet50-c512-c128-1x1-b8", 8, 512, 28, 28, 128, 1, 1),
    ConvCase("resnet50-c1024-c256-1x1-b8", 8, 1024, 14, 14, 256, 1, 1),
    ConvCase("vgg-c128-b8", 8, 128, 56, 56, 128, 3, 3, padding=1),
    PoolCase("vgg-pool-b8", 8, 128, 56, 56, 2),
    ConvCase("mobilenet-dw32-b8", 8, 32, 112, 112, 32, 3, 3, padding=1, groups=32),
    ConvCase("mobilenet-dw128-b8", 8, 128, 56, 56, 128, 3, 3, padding=1, groups=128),
    ConvCase("mobilenet-dw128-s2-b8", 8, 128, 56, 56, 128, 3, 3, 2, 1, groups=128),
    ConvCase("mobilenet-dw512-b8", 8, 512, 14, 14, 512, 3, 3, padding=1, groups=512),
    BatchNormCase("mobilenet-bn32-b8", (8, 32, 112, 112)),
)

GROWING_BATCHES = tuple(_mnist_cnn(N, (TRAINING_STEP,)) for N in (8, 24, 72))
GROWING_IMAGES = tuple(
    ConvCase(f"growth-{size}x{size}-b8", 8, 16, size, size, 32, 3, 3, padding=1)
    for size in (16, 32, 64, 128)
)

SUITES: dict[str, tuple[Case, ...]] = {
    "mnist": MNIST,
    "naive": NAIVE,
    "lenet5": (*LENET5, *LENET5_NETWORKS),
    "resnet20": (*RESNET20, *RESNET20_NETWORKS),
    "resnet18": RESNET18,
    "others": OTHERS,
}

QUICK = (
    "mnist-conv1-b32",
    "mnist-conv2-b32",
    "mnist-bn2-b32",
    "mnist-relu2-b32",
    "mnist-pool-b32",
    "mnist-fc1-b32",
    "mnist-cnn-b1",
    "mnist-cnn-b32",
    "digits-conv2-b1",
    "digits-pool-b8",
    "resnet20-c64-b32",
    "resnet18-c128-b8",
    "mobilenet-dw128-b8",
)
"""The cases of ``make bench``; ``make bench-full`` takes all."""

THREAD_SCALING = ("mnist-conv2-b32", "mnist-cnn-b32")
"""The cases that are also timed with one thread, two, four and so on."""
