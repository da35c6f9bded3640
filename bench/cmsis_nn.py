"""CMSIS-NN on the same layers: builds a checkout of it, and counts what its wrapper functions take.

Every layer of a program becomes the call TFLite Micro would make (arm_convolve_wrapper_s8 and so on) with the
same weights, on the inputs our reference has there; results may differ by one from ours, since CMSIS-NN
rounds twice. Buffer sizes and weight sums are computed outside the count, as TFLite Micro does in Prepare.
The interpreter itself is not there, so this is a little kinder to CMSIS-NN than the whole of TFLite Micro.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dfqgen import resources
from dfqgen.emit.context import number_table
from dfqgen.errors import UserError, VerificationFailed
from dfqgen.fixedpoint.program import Program, QOp, QTensor
from dfqgen.fixedpoint.qtype import Array, Requantize
from dfqgen.fixedpoint.vectors import golden_vectors
from dfqgen.ops.add import QAdd
from dfqgen.ops.conv import QConv2D
from dfqgen.ops.movement import QReshape
from dfqgen.ops.multiply import QMul
from dfqgen.ops.pool import QAveragePool, QMaxPool
from dfqgen.ops.softmax import QSoftmax
from dfqgen.ops.windows import NO_PADS
from dfqgen.targets import Target
from dfqgen.verify.firmware import find_tool, run_tool, start_files
from dfqgen.verify.profile import count_segments

FOLDERS = (
    "ActivationFunctions", "BasicMathFunctions", "ConvolutionFunctions", "FullyConnectedFunctions",
    "NNSupportFunctions", "PoolingFunctions", "SoftmaxFunctions", "TransposeFunctions",
)  # fmt: skip
LEFT_OUT = ("_f16", "_f32", "_s4", "_activation_", "svdf", "lstm", "batch_matmul", "transpose_conv")
OPTIMIZATION = "-O2"  # fewer instructions than its own default, -Ofast, with GCC 12
TOLERANCE = 2
"""Two roundings may move a result by one; a sum rounds each operand too."""


@dataclass(frozen=True, slots=True)
class LayerCount:
    """One layer with CMSIS-NN."""

    name: str
    instructions: int
    cycles: int | None


@dataclass(frozen=True, slots=True)
class Library:
    """A CMSIS-NN checkout compiled for a target."""

    path: Path
    target: Target
    objects: tuple[Path, ...]
    options: tuple[str, ...]

    @property
    def flags(self) -> list[str]:
        return [*self.target.compiler.flags, *self.options, f"-I{self.path / 'Include'}"]


def build_library(
    path: Path, target: Target, work: Path, options: Sequence[str] = (OPTIMIZATION,)
) -> Library:
    """Compile the int8 functions of a checkout into `work`. Raises UserError when it is none."""
    if not (path / "Include" / "arm_nnfunctions.h").is_file():
        raise UserError(f"{path} is not a checkout of CMSIS-NN", "It has Include/arm_nnfunctions.h.")
    sources = [
        source
        for folder in FOLDERS
        for source in sorted((path / "Source" / folder).glob("*.c"))
        if not any(part in source.name for part in LEFT_OUT)
    ]
    library = Library(path, target, tuple(work / f"{source.stem}.o" for source in sources), tuple(options))
    compiler = find_tool(target.compiler.command, target)

    def compile_one(job: tuple[Path, Path]) -> None:
        arguments = [*library.flags, "-ffunction-sections", "-fdata-sections", "-w"]
        arguments += ["-c", str(job[0]), "-o", str(job[1])]
        run_tool(compiler, arguments, f"{job[0].name} of CMSIS-NN does not compile for {target.name}")

    with ThreadPoolExecutor(max_workers=2) as pool:
        list(pool.map(compile_one, zip(sources, library.objects, strict=True)))
    return library


def count_layers(program: Program, library: Library, work: Path) -> list[LayerCount]:
    """Every layer of a program, in the program's order. Raises VerificationFailed on wrong results."""
    layers = [op for op in program.ops if not isinstance(op, QReshape)]
    source, elf = work / "layers.c", work / "layers.elf"
    source.write_text(_firmware(program, layers))
    target = library.target
    assert target.emulator is not None
    board = resources.runtime_dir() / "firmware"
    flags = [*library.flags, "-g", "-w", f"-I{board}", f"-L{board}", "-nostartfiles", "-Wl,--gc-sections"]
    files = [source, *start_files(target.emulator), *library.objects]
    arguments = [*flags, *map(str, files), "-T", target.emulator.linker_script, "-o", str(elf)]
    compiler = find_tool(target.compiler.command, target)
    run_tool(compiler, arguments, "the firmware with CMSIS-NN does not link")
    counted = count_segments(elf, target, 2 * len(layers), work)
    if counted.wrong_values:
        raise VerificationFailed(
            f"CMSIS-NN on {target.name}: {counted.wrong_values} values are off by more than {TOLERANCE}"
        )
    return [
        LayerCount(op.name, counted.instructions[2 * i + 1], counted.cycles[2 * i + 1])
        for i, op in enumerate(layers)
    ]


_HEAD = f"""#include "arm_nnfunctions.h"
#include "arm_nnsupportfunctions.h"
#include "dfq_board.h"
#include <stddef.h>
#include <string.h>

static int8_t scratch[1 << 17] __attribute__((aligned(16)));
static unsigned wrong;

__attribute__((noinline)) void dfq_probe(void) {{ __asm volatile(""); }}

#define CHECK(type) \\
    static void check_##type(const type *out, const type *expected, int count) \\
    {{ \\
        for (int i = 0; i < count; i++) {{ \\
            const int off = out[i] - expected[i]; \\
            wrong += off > {TOLERANCE} || off < -{TOLERANCE}; \\
        }} \\
    }}
CHECK(int8_t)
CHECK(int16_t)
"""

_TAIL = """    dfq_print("dfq layer 0 0 1\\ndfq stack 0\\ndfq wrong ");
    dfq_print_hex(wrong);
    dfq_print("\\n");
    return wrong != 0;
}
"""


@dataclass(slots=True)
class _Layer:
    """C of one layer: definitions, statements before the count, and the call."""

    prefix: str
    tables: list[str] = field(default_factory=list)
    setup: list[str] = field(default_factory=list)
    call: str = ""

    def array(self, ctype: str, role: str, values: Array) -> str:
        """Define a constant table; gives its name."""
        name = f"{self.prefix}_{role}"
        self.tables.append(
            f"static const {ctype} {name}[{values.size}] __attribute__((aligned(16))) = "
            f"{{\n{number_table(values)}\n}};"
        )
        return name


def _firmware(program: Program, layers: Sequence[QOp]) -> str:
    """Segment 2i checks layer i - 1 and fills the inputs of layer i, segment 2i + 1 is layer i."""
    (vector, *_) = golden_vectors(program)
    values = dict(vector.inputs)
    program.run(vector.inputs, watch=lambda op, result: values.update({op.output: result}))
    parts, body, check = [_HEAD], [], ""
    for index, op in enumerate(layers):
        inputs, output = program.tensors_of(op)
        layer = _Layer(f"l{index}")
        for i, name in enumerate(op.inputs):
            given = layer.array(_ctype(inputs[i]), f"given{i}", values[name].reshape(-1))
            size = inputs[i].elements
            layer.tables.append(
                f"static {_ctype(inputs[i])} l{index}_in{i}[{size}] __attribute__((aligned(16)));"
            )
            layer.setup.append(f"memcpy(l{index}_in{i}, {given}, sizeof {given});")
        expected = layer.array(_ctype(output), "expected", values[op.output].reshape(-1))
        layer.tables.append(
            f"static {_ctype(output)} l{index}_out[{output.elements}] __attribute__((aligned(16)));"
        )
        _write_layer(layer, op, inputs, output)
        parts += layer.tables
        parts.append(f"__attribute__((noinline)) static void l{index}(void)\n{{\n    {layer.call}\n}}\n")
        body += ["dfq_probe();", check, *layer.setup, "dfq_probe();", f"l{index}();"]
        checked = f"check_{_ctype(output)}(l{index}_out, {expected}, {output.elements});"
        check = checked if _is_comparable(op) else ""
    body += ["dfq_probe();", check]
    lines = [f"    {line}" for line in body if line]
    return "\n".join([*parts, "int main(void)", "{", *lines]) + "\n" + _TAIL


def _ctype(tensor: QTensor) -> str:
    return f"{tensor.qtype.dtype.carrier.name}_t"


def _suffix(tensor: QTensor) -> str:
    return f"s{tensor.qtype.dtype.bits}"


def _is_comparable(op: QOp) -> bool:
    """Whether CMSIS-NN computes the same: its pooling keeps the scale, and it has no clip a channel."""
    if isinstance(op, QConv2D):
        return np.ptp(op.requantize.lo) == 0 and np.ptp(op.requantize.hi) == 0
    return not isinstance(op, QAveragePool)


def _write_layer(layer: _Layer, op: QOp, inputs: Sequence[QTensor], output: QTensor) -> None:
    if isinstance(op, QConv2D):
        x = inputs[0]
        whole = op.kernel == x.shape[1:3] and op.pads == NO_PADS and op.groups == 1
        _fully_connected(layer, op, x, output) if whole else _convolution(layer, op, x, output)
    elif isinstance(op, QAdd):
        _add(layer, op, inputs, output)
    elif isinstance(op, QMul):
        _product(layer, op, inputs, output)
    elif isinstance(op, QAveragePool | QMaxPool):
        _pool(layer, op, inputs[0], output)
    elif isinstance(op, QSoftmax):
        _softmax(layer, op, inputs[0])
    else:
        raise UserError(f"{op.name}: there is no call of CMSIS-NN for {type(op).__name__} here")


def _quantized(factor: float) -> tuple[int, int]:
    """TFLite's form of a real factor: multiplier in [2**30, 2**31), and a shift to the left."""
    if factor == 0.0:
        return 0, 0
    mantissa, shift = math.frexp(factor)
    multiplier = math.floor(mantissa * 2.0**31 + 0.5)
    return (multiplier // 2, shift + 1) if multiplier == 1 << 31 else (multiplier, shift)


def _factors(form: Requantize) -> list[tuple[int, int]]:
    return [_quantized(float(m) * 2.0 ** (form.pre_shift - 32)) for m in form.multiplier]


def _dims(n: int, h: int, w: int, c: int) -> str:
    return f"&(const cmsis_nn_dims){{{n}, {h}, {w}, {c}}}"


def _dims_of(tensor: QTensor) -> str:
    _, height, width, channels = tensor.shape
    return _dims(1, height, width, channels)


def _activation(form: Requantize) -> str:
    """CMSIS-NN clips all channels alike."""
    return f"{{{int(form.lo.min())}, {int(form.hi.max())}}}"


def _plain_bias(op: QConv2D, x: QTensor) -> Array:
    """Ours has the input zero point folded in."""
    return op.bias + x.qtype.zero_point * op.weight.astype(np.int64).sum(axis=(1, 2, 3))


def _convolution(layer: _Layer, op: QConv2D, x: QTensor, output: QTensor) -> None:
    factors = _factors(op.requantize)
    name = layer.prefix
    multiplier = op.out_channels // op.groups
    depthwise = op.groups > 1 and op.weight.shape[3] == 1  # several filters a channel are that, too
    weight = np.ascontiguousarray(op.weight.transpose(3, 1, 2, 0)) if depthwise else op.weight
    weights = layer.array("int8_t", "weight", weight.reshape(-1))
    wide = _suffix(x) == "s16"
    bias = layer.array("int64_t" if wide and depthwise else "int32_t", "bias", _plain_bias(op, x))
    multipliers = layer.array("int32_t", "multipliers", np.array([m for m, _ in factors]))
    shifts = layer.array("int32_t", "shifts", np.array([s for _, s in factors]))
    kind, filters = ("dw_conv", f"{multiplier}, ") if depthwise else ("conv", "")
    layer.tables.append(
        f"static const cmsis_nn_{kind}_params {name}_params = {{{-x.qtype.zero_point}, "
        f"{op.requantize.zero_point}, {filters}{{{op.stride[1]}, {op.stride[0]}}}, "
        f"{{{op.pads.left}, {op.pads.top}}}, {{{op.dilation[1]}, {op.dilation[0]}}}, "
        f"{_activation(op.requantize)}}};"
    )
    layer.tables.append(f"static cmsis_nn_context {name}_context;")
    wrapper = "arm_depthwise_conv_wrapper" if depthwise else "arm_convolve_wrapper"
    wrapper = f"{wrapper}_{_suffix(x)}"
    if wide and not depthwise:
        bias = f"&(const cmsis_nn_bias_data){{{bias}, true}}"
    height, width = op.kernel
    first, last = (1, op.out_channels) if depthwise else (op.out_channels, x.shape[3] // op.groups)
    kernel, size = _dims(first, height, width, last), _dims_of(output)
    layer.setup += [
        f"{name}_context.size = {wrapper}_get_buffer_size(&{name}_params, {_dims_of(x)}, {kernel}, {size});",
        f"{name}_context.buf = scratch;",
        f"wrong += {name}_context.size > (int32_t)sizeof scratch;",
    ]
    quant = f"&(cmsis_nn_per_channel_quant_params){{(int32_t *){multipliers}, (int32_t *){shifts}}}"
    layer.call = (
        f"{wrapper}(&{name}_context, &{name}_params, {quant}, {_dims_of(x)}, {name}_in0, {kernel}, "
        f"{weights}, {_dims(1, 1, 1, op.out_channels)}, {bias}, {size}, {name}_out);"
    )


def _fully_connected(layer: _Layer, op: QConv2D, x: QTensor, output: QTensor) -> None:
    factors = _factors(op.requantize)
    name, depth, channels = layer.prefix, x.elements, op.out_channels
    weights = layer.array("int8_t", "weight", op.weight.reshape(-1))
    wide = _suffix(x) == "s16"
    bias = layer.array("int64_t" if wide else "int32_t", "bias", _plain_bias(op, x))
    multipliers = layer.array("int32_t", "multipliers", np.array([m for m, _ in factors]))
    shifts = layer.array("int32_t", "shifts", np.array([s for _, s in factors]))
    layer.tables.append(
        f"static const cmsis_nn_fc_params {name}_params = {{{-x.qtype.zero_point}, 0, "
        f"{op.requantize.zero_point}, {_activation(op.requantize)}}};"
    )
    layer.tables.append(f"static cmsis_nn_context {name}_context;")
    if wide:  # one factor for all channels
        filter_dims, out = _dims(depth, 1, 1, channels), _dims(1, 1, 1, channels)
        layer.setup.append(f"{name}_context.buf = scratch;")
        quant = f"&(cmsis_nn_per_tensor_quant_params){{{factors[0][0]}, {factors[0][1]}}}"
        layer.call = (
            f"arm_fully_connected_s16(&{name}_context, &{name}_params, {quant}, {_dims(1, 1, 1, depth)}, "
            f"{name}_in0, {filter_dims}, {weights}, {out}, {bias}, {out}, {name}_out);"
        )
        return
    layer.setup += [
        f"{name}_context.size = arm_fully_connected_s8_get_buffer_size({_dims(depth, 1, 1, channels)});",
        f"{name}_context.buf = scratch;",
        f"if ({name}_context.size > 0) {{ arm_vector_sum_s8((int32_t *)scratch, {depth}, {channels}, "
        f"{weights}, {-x.qtype.zero_point}, 0, {bias}); }}",
    ]
    quant = f"&(cmsis_nn_quant_params){{(int32_t *){multipliers}, (int32_t *){shifts}, 1}}"
    layer.call = (
        f"arm_fully_connected_wrapper_s8(&{name}_context, &{name}_params, {quant}, {_dims(1, 1, 1, depth)}, "
        f"{name}_in0, {_dims(depth, 1, 1, channels)}, {weights}, {_dims(1, 1, 1, channels)}, {bias}, "
        f"{_dims(1, 1, 1, channels)}, {name}_out);"
    )


def _add(layer: _Layer, op: QAdd, inputs: Sequence[QTensor], output: QTensor) -> None:
    """TFLite: both operands times 2**20 and their own factor, then one factor for the sum."""
    factors = [m / 2.0**op.shift for m in op.multipliers]
    largest = 2.0 * max(abs(factor) for factor in factors)
    left = 20
    arguments = []
    for tensor, factor in zip(inputs, factors, strict=True):
        arguments += [-tensor.qtype.zero_point, *_quantized(factor / largest)]
    arguments += [left]
    tail = [output.qtype.zero_point, *_quantized(largest / 2.0**left), int(op.lo.min()), int(op.hi.max())]
    name = layer.prefix
    layer.call = (
        f"arm_elementwise_add_s8({name}_in0, {name}_in1, {', '.join(map(str, arguments))}, {name}_out, "
        f"{', '.join(map(str, tail))}, {output.elements});"
    )


def _product(layer: _Layer, op: QMul, inputs: Sequence[QTensor], output: QTensor) -> None:
    multiplier, shift = _quantized(op.multiplier / 2.0**op.shift)
    zero_points = ", ".join(str(-tensor.qtype.zero_point) for tensor in inputs)
    name = layer.prefix
    layer.call = (
        f"arm_elementwise_mul_s8({name}_in0, {name}_in1, {zero_points}, {name}_out, "
        f"{output.qtype.zero_point}, {multiplier}, {shift}, {op.lo}, {op.hi}, {output.elements});"
    )


def _pool(layer: _Layer, op: QAveragePool | QMaxPool, x: QTensor, output: QTensor) -> None:
    name = layer.prefix
    function = "arm_avgpool_s8" if isinstance(op, QAveragePool) else "arm_max_pool_s8"
    lo, hi = (int(op.lo.min()), int(op.hi.max())) if isinstance(op, QAveragePool) else (-128, 127)
    layer.tables.append(
        f"static const cmsis_nn_pool_params {name}_params = {{{{{op.stride[1]}, {op.stride[0]}}}, "
        f"{{{op.pads.left}, {op.pads.top}}}, {{{lo}, {hi}}}}};"
    )
    layer.call = (
        f"{function}(&(const cmsis_nn_context){{scratch, sizeof scratch}}, &{name}_params, {_dims_of(x)}, "
        f"{name}_in0, {_dims(1, *op.kernel, 1)}, {_dims_of(output)}, {name}_out);"
    )


def _softmax(layer: _Layer, op: QSoftmax, x: QTensor) -> None:
    """TFLite's integers for 5 bits before the point."""
    multiplier, shift = _quantized(min(x.qtype.scale * 2.0**26, 2.0**31 - 1))
    radius = math.floor(31 * 2.0**26 / 2.0**shift)
    rows, classes = x.elements // x.shape[op.axis], x.shape[op.axis]
    name = layer.prefix
    layer.call = (
        f"arm_softmax_s8({name}_in0, {rows}, {classes}, {multiplier}, {shift}, {-radius}, {name}_out);"
    )
