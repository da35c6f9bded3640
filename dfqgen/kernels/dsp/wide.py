"""Convolutions and fully connected layers with int16 activations on the Arm DSP extension."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from dfqgen.fixedpoint.program import QTensor, Work
from dfqgen.fixedpoint.qtype import Array, IntType
from dfqgen.kernels import overlap
from dfqgen.kernels.base import REGISTRY, ConstArray, Field, Kernel, LayerCode
from dfqgen.kernels.dsp.matmul import BLOCK, round_up
from dfqgen.kernels.packing import PACKED_TYPES, pack_chunks, wrap_int32
from dfqgen.kernels.portable.conv import conv_title, is_pointwise, window_fields
from dfqgen.kernels.portable.wide import any_wide, is_wide, types_title, wide_bounds
from dfqgen.kernels.requantize import one_clamp
from dfqgen.ops.conv import QConv2D
from dfqgen.ops.windows import NO_PADS
from dfqgen.targets import Isa

WHOLE_BYTES = 8192
"""Widened weights that lie in scratch all at once, so that outputs may overwrite inputs."""
CHUNK_BYTES = 4096
"""Those of a chunk of more than four channels, where there are more."""
TILES = (32, 16)
TILE_BYTES = 8192
"""Pixels that meet all chunks before the next ones are read, for the same reason, and the most that their
columns may take. Weights are widened again for each tile: of 16 pixels a ninth of the product's time."""
GROUP_BYTES = 32
"""Weights of fewer bits are unpacked in whole groups."""
WEIGHT_TYPES = (IntType.INT8, *PACKED_TYPES)


def pack_bytes(weight: Array) -> Array:
    """Weights [channels, depth], both whole blocks, as int8 in the order of dfq_dsp_wide_matmul.h."""
    channels, depth = weight.shape
    # [block, pair of channels, channel, pair of inputs, input]; a word is {c0[k], c1[k], c0[k+1], c1[k+1]}
    lanes = weight.reshape(channels // BLOCK, 2, 2, depth // 2, 2).transpose(0, 3, 1, 4, 2)
    return np.ascontiguousarray(lanes.astype(np.int8)).reshape(channels // BLOCK, BLOCK * depth)


def pack_factors(op: QConv2D) -> Array:
    """Biases and multipliers int32 [blocks, 2, 4]."""
    spare = -op.out_channels % BLOCK
    columns = [op.bias.astype(np.int64), op.requantize.multiplier]
    padded = [np.pad(column, (0, spare)).reshape(-1, BLOCK) for column in columns]
    return wrap_int32(np.stack(padded, axis=1))


def clip_work(op: QConv2D, output: QTensor) -> Work:
    """Outputs that are clamped after they were saturated, two int16 at a time where channels agree."""
    form, types = op.requantize, output.qtype.dtype
    narrow = bool(np.any(form.lo > types.minimum) or np.any(form.hi < types.maximum))
    clamped = float(output.elements if narrow else 0)
    pairs = one_clamp(form.lo, form.hi) and is_wide(output)
    return {"narrow_output": 0.0 if pairs else clamped, "clipped_output": clamped if pairs else 0.0}


class Conv2DS16SnDspKernel(Kernel[QConv2D]):
    """Any ungrouped convolution: a chunk of weights widened to scratch, then two windows at a time."""

    op = QConv2D
    function = "dfq_conv2d_s16sn_2x4_dsp"
    struct: ClassVar[str] = "dfq_conv2d_s16sn_dsp_t"
    header = "dsp/dfq_conv2d_s16sn_dsp.h"
    isa = Isa.DSP

    def supports(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return op.groups == 1 and op.weight_type in WEIGHT_TYPES and any_wide(inputs[0], output)

    def depth(self, op: QConv2D) -> int:
        return round_up(int(np.prod(op.weight.shape[1:])), 2)

    def chunk(self, op: QConv2D) -> int:
        """Output channels that are in scratch together."""
        channels, channel_bytes = round_up(op.out_channels, BLOCK), 2 * self.depth(op)
        if channels * channel_bytes <= WHOLE_BYTES:
            return channels
        return min(channels, max(BLOCK, CHUNK_BYTES // channel_bytes // BLOCK * BLOCK))

    def tile(self, op: QConv2D) -> int:
        """Pixels whose columns are in scratch together; 0 where a pair comes after the other."""
        if self.chunk(op) >= op.out_channels:
            return 0
        return next((tile for tile in TILES if 2 * tile * self.depth(op) <= TILE_BYTES), 0)

    def direct(self, op: QConv2D, x: QTensor) -> bool:
        """Whether windows go to the columns without a copy in between."""
        return is_wide(x) and op.weight.shape[3] % 2 == 0

    def weight_arrays(self, op: QConv2D) -> tuple[ConstArray, ...]:
        channels, depth = round_up(op.out_channels, BLOCK), self.depth(op)
        rows = np.zeros((channels, depth), np.int64)
        flat = op.weight.reshape(op.out_channels, -1)
        rows[: len(flat), : flat.shape[1]] = flat
        blocks = pack_bytes(rows)
        comment = f"{op.weight_type.bits} bits, in blocks of four channels"
        if op.weight_type is IntType.INT8:
            words = blocks.reshape(-1).view("<u4")
        else:
            step = self.chunk(op) // BLOCK
            chunks = [blocks[at : at + step] for at in range(0, len(blocks), step)]
            words = pack_chunks(chunks, op.weight_type)
        return (
            ConstArray("weight", words, comment),
            ConstArray("factors", pack_factors(op).reshape(-1), "a block: four biases, four multipliers"),
        )

    def matmul_code(self, op: QConv2D, x: QTensor, output: QTensor) -> tuple[Field, tuple[ConstArray, ...]]:
        form = op.requantize
        types = output.qtype.dtype
        narrow = bool(np.any(form.lo > types.minimum) or np.any(form.hi < types.maximum))
        bounds, tables = wide_bounds(form.lo, form.hi)
        arrays = self.weight_arrays(op)
        members = (
            *(Field(array.role, array.role) for array in arrays),
            Field("bits", op.weight_type.bits),
            Field("depth", self.depth(op)),
            Field("out_channels", op.out_channels),
            Field("chunk", self.chunk(op)),
            Field("zero_point", form.zero_point),
            Field("pre_shift", form.pre_shift),
            Field("in_wide", int(is_wide(x))),
            Field("out_wide", int(is_wide(output))),
            *((Field("narrow", 1), bounds) if narrow else ()),
        )
        return Field("matmul", members), (*arrays, *(tables if narrow else ()))

    def geometry(self, op: QConv2D, x: QTensor, output: QTensor) -> tuple[Field, ...]:
        tile = self.tile(op)
        return (*window_fields(op, x, output), *((Field("tile", tile),) if tile else ()))

    def title(self, op: QConv2D) -> str:
        return conv_title(op)

    def code(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        matmul, arrays = self.matmul_code(op, inputs[0], output)
        bits = "" if op.weight_type is IntType.INT8 else f", {op.weight_type.bits}-bit weights"
        return LayerCode(
            function=self.function,
            struct=self.struct,
            title=f"{self.title(op)}, {types_title(inputs[0], output)}{bits}",
            fields=(matmul, *self.geometry(op, inputs[0], output)),
            arrays=arrays,
        )

    def scratch_bytes(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> int:
        depth, blocks = self.depth(op), self.chunk(op) // BLOCK
        columns = 2 * depth * (self.tile(op) or 2)
        columns += 2 * op.weight.shape[3] if self.direct(op, inputs[0]) else 4 * depth
        groups = 0 if op.weight_type is IntType.INT8 else GROUP_BYTES
        return columns + blocks * (8 * depth + 32) + groups

    def overlap_lead_bytes(
        self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor, index: int
    ) -> int | None:
        tile = self.tile(op) or 2
        if self.chunk(op) < op.out_channels and tile == 2:
            return None  # every chunk reads the whole input
        x = inputs[0]
        reads = overlap.window_first_reads(x.shape[1:3], output.shape[1:3], op.stride, op.pads)
        blocks = np.arange(output.shape[1] * output.shape[2]) // tile
        in_bytes, out_bytes = (t.shape[3] * t.qtype.dtype.bits // 8 for t in (x, output))
        return overlap.block_lead_bytes(reads, blocks, in_bytes, out_bytes, reads_block_first=True)

    def work(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> Work:
        packed = op.weight_type is not IntType.INT8
        pixels = output.shape[1] * output.shape[2]
        tile = self.tile(op)
        weights = op.weight.size * (-(-pixels // tile) if tile else 1)
        return super().work(op, inputs, output) | {
            "weight": float(weights),
            "packed_weight": float(weights if packed else 0),
            "copied_value": float(0 if self.direct(op, inputs[0]) else pixels * self.depth(op)),
            **clip_work(op, output),
        }


class FullyConnectedS16SnDspKernel(Conv2DS16SnDspKernel):
    """A window over the whole input: the input is read in place, weights are widened on the fly."""

    function = "dfq_fully_connected_s16sn_1x4_dsp"
    struct = "dfq_fully_connected_s16sn_dsp_t"
    copied = False

    def supports(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> bool:
        x = inputs[0]
        whole = is_pointwise(op) or (op.kernel == x.shape[1:3] and op.dilation == (1, 1))
        single = output.shape[1:3] == (1, 1) and op.pads == NO_PADS
        in_place = is_wide(x) and x.elements % BLOCK == 0 and op.weight_type is IntType.INT8
        return super().supports(op, inputs, output) and whole and single and in_place != self.copied

    def depth(self, op: QConv2D) -> int:
        return round_up(int(np.prod(op.weight.shape[1:])), BLOCK)

    def chunk(self, op: QConv2D) -> int:
        return BLOCK

    def weight_arrays(self, op: QConv2D) -> tuple[ConstArray, ...]:
        weight, factors = super().weight_arrays(op)
        if op.weight_type is not IntType.INT8:
            return weight, factors
        columns = factors.values.reshape(-1, 2, BLOCK)
        words = weight.values.view("<i4").reshape(len(columns), -1)
        stream = np.concatenate([columns[:, 0], words, columns[:, 1]], axis=1)
        comment = "biases, weights in blocks of four channels, multipliers"
        return (ConstArray("weight", stream.reshape(-1).view("<u4"), comment),)

    def geometry(self, op: QConv2D, x: QTensor, output: QTensor) -> tuple[Field, ...]:
        return (Field("in_elements", x.elements),)

    def title(self, op: QConv2D) -> str:
        return "fully connected"

    def scratch_bytes(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> int:
        return 0

    def overlap_lead_bytes(
        self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor, index: int
    ) -> int | None:
        return None


class FullyConnectedCopiedS16SnDspKernel(FullyConnectedS16SnDspKernel):
    """The same with the input copied to scratch, and weights of any width."""

    function = "dfq_fully_connected_copied_s16sn_1x4_dsp"
    copied = True

    def scratch_bytes(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> int:
        depth = self.depth(op)
        return 2 * depth + (0 if op.weight_type is IntType.INT8 else 4 * depth + 32 + GROUP_BYTES)

    def overlap_lead_bytes(
        self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor, index: int
    ) -> int | None:
        return 0


for _kernel in (Conv2DS16SnDspKernel(), FullyConnectedS16SnDspKernel(), FullyConnectedCopiedS16SnDspKernel()):
    REGISTRY.add(_kernel)
