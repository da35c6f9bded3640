"""What dfqgen takes at most, checked before memory is spent. Beyond it a model is a mistake or an attack."""

from __future__ import annotations

LARGEST_TENSOR_ELEMENTS = 1 << 24
"""16 MiB for one int8 activation: more than the RAM of any target, and the first layer of a full HD image."""
LARGEST_NETWORK_ELEMENTS = 1 << 28
"""All activations together; a segmentation network of 513x513 has half of them."""
LARGEST_LAYER_READS = 1 << 31
"""Weights or window elements that one layer reads for one input; VGG-16's largest at 224x224 has 1.85e9."""
LARGEST_AXIS = 1 << 16
"""A side of an image that windows make, and each of kernel, stride, dilation and pad."""
LONGEST_LIST = 64
"""Axes, pads, shapes: no tensor dfqgen handles has more."""
MOST_NODES = 1 << 17
"""Of a model whose local functions are expanded; large released networks have a few thousand."""
