"""A program as an ONNX model of QuantizeLinear and DequantizeLinear, whole or layer by layer."""

from __future__ import annotations

import onnx

from dfqgen.export.nodes import write
from dfqgen.export.writer import Writer
from dfqgen.fixedpoint.program import Program


def qdq_model(program: Program) -> onnx.ModelProto:
    """The whole network, float in and float out, in the model's own axes.

    Raises UserError for a layer that has no such form.
    """
    writer = Writer([port.name for port in (*program.inputs, *program.outputs)])
    for port in program.inputs:
        writer.add_input(port, program.tensors[port.tensor])
    for op in program.ops:
        write(op, writer, *program.tensors_of(op))
    for port in program.outputs:
        writer.add_output(port, program.tensors[port.tensor])
    return _checked(writer.model(program.name))


def layers_model(program: Program) -> tuple[onnx.ModelProto, dict[str, str], dict[str, str]]:
    """Every layer by itself in one model: integers in, integers out.

    The dicts name the inputs of the tensors that layers read, and the outputs of those that they write.
    """
    writer = Writer([])
    given: dict[str, tuple[str, str]] = {}
    for name in dict.fromkeys(name for op in program.ops for name in op.inputs):
        writer.add_coded_input(program.tensors[name])
        given[name] = writer.coded[name], writer.real[name]
    written: dict[str, str] = {}
    for op in program.ops:
        for name, (coded, real) in given.items():
            writer.coded[name], writer.real[name] = coded, real
        write(op, writer, *program.tensors_of(op))
        written[op.output] = writer.add_coded_output(program.tensors[op.output])
    return _checked(writer.model(program.name)), {name: coded for name, (coded, _) in given.items()}, written


def _checked(model: onnx.ModelProto) -> onnx.ModelProto:
    onnx.checker.check_model(model)
    return model
