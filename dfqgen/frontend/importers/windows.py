"""Attributes that Conv and the pools share: kernel, strides, dilations, pads, auto_pad, ceil_mode."""

from __future__ import annotations

from dataclasses import dataclass

from dfqgen.frontend.importers.registry import OnnxNode, Refused
from dfqgen.frontend.limits import LARGEST_AXIS
from dfqgen.ops.windows import Pads, output_size


@dataclass(frozen=True, slots=True)
class Window:
    """Two-dimensional, a sequence being an image of height 1.

    `extra` is what ceil_mode needs beyond `pads` below and to the right, so that the last window fits.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    pads: Pads
    extra: Pads


def read_window(node: OnnxNode, image: tuple[int, int], kernel: tuple[int, int] | None = None) -> Window:
    """The node's window on an image (height, width); `kernel` as the weight says, if there is one."""
    stated = node.integers("kernel_shape")
    axes = len(node.shape()) - 2
    if stated is not None:
        stated = two(stated, axes, 1)
        if kernel is not None and stated != kernel:
            raise Refused(f"kernel_shape {stated} differs from the weight's {kernel}")
        kernel = stated
    if kernel is None:
        raise Refused("has no kernel_shape")
    stride = two(node.integers("strides") or (1,) * axes, axes, 1)
    dilation = two(node.integers("dilations") or (1,) * axes, axes, 1)
    check_steps(kernel, stride, dilation)
    pads = _pads(node, axes, image, kernel, stride, dilation)
    if max(pads) > LARGEST_AXIS:
        raise Refused(f"pads {tuple(pads)} are larger than {LARGEST_AXIS:,}")
    extra = Pads(0, 0, 0, 0)
    if node.flag("ceil_mode", default=False):
        below = _ceil_extra(image[0], kernel[0], stride[0], dilation[0], pads.top, pads.bottom)
        right = _ceil_extra(image[1], kernel[1], stride[1], dilation[1], pads.left, pads.right)
        extra = Pads(0, 0, below, right)
    return Window(kernel, stride, dilation, pads, extra)


def check_steps(*pairs: tuple[int, int]) -> None:
    """Kernel, strides and dilations within bounds."""
    for pair in pairs:
        if min(pair) < 1 or max(pair) > LARGEST_AXIS:
            raise Refused(f"kernel, strides and dilations lie between 1 and {LARGEST_AXIS:,}, not {pair}")


def two(values: tuple[int, ...], axes: int, fill: int) -> tuple[int, int]:
    """One value for height and one for width; `fill` for the height of a sequence."""
    if len(values) != axes:
        raise Refused(f"attribute {values} does not fit {axes} spatial axes")
    return (values[0], values[1]) if axes == 2 else (fill, values[0])


def _pads(
    node: OnnxNode,
    axes: int,
    image: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
) -> Pads:
    mode = node.text("auto_pad", "NOTSET")
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        ends = []
        for n, k, s, d in zip(image, kernel, stride, dilation, strict=True):
            total = max(0, (-(-n // s) - 1) * s + d * (k - 1) + 1 - n)
            ends.append((total // 2, total - total // 2)[:: 1 if mode == "SAME_UPPER" else -1])
        return Pads(ends[0][0], ends[1][0], ends[0][1], ends[1][1])
    if mode == "VALID":
        return Pads(0, 0, 0, 0)
    if mode not in ("NOTSET", ""):
        raise Refused(f"auto_pad {mode!r} is unknown")
    values = node.integers("pads") or (0,) * (2 * axes)
    if len(values) != 2 * axes:
        raise Refused(f"pads {values} do not fit {axes} spatial axes")
    if min(values) < 0:
        raise Refused("negative pads are not supported; crop with Slice instead")
    top, left = two(values[:axes], axes, 0)
    bottom, right = two(values[axes:], axes, 0)
    return Pads(top, left, bottom, right)


def _ceil_extra(size: int, kernel: int, stride: int, dilation: int, before: int, after: int) -> int:
    """Elements missing behind the padded axis for one more, partial window; 0 when none is added."""
    reach = dilation * (kernel - 1) + 1
    rest = size + before + after - reach
    if rest < 0 or rest % stride == 0:
        return 0
    positions = output_size(size, kernel, stride, dilation, before, after) + 1
    if (positions - 1) * stride >= size + before:  # it would start in the padding: ONNX drops it
        return 0
    return (positions - 1) * stride - rest
