"""Mutations of ONNX models that know what a model is made of; each takes the model apart in place."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, ModelProto, TensorProto, helper, numpy_helper

INTEGERS = (0, 1, -1, 2, 3, 5, 7, 16, 255, -128, 1 << 16, (1 << 31) - 1, -(1 << 31), 1 << 40, -(1 << 63))
FLOATS = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-45, 1e-20, 1e20, 3.4e38, float("inf"), float("-inf"), float("nan"))
_WORDS = """
    x SAME_UPPER SAME_LOWER VALID nearest linear cubic edge reflect wrap constant sum mean tanh none floor
    asymmetric align_corners bidirectional
"""
_ATTRIBUTES = """
    axis axes pads strides dilations group kernel_shape auto_pad alpha mode keepdims perm to ceil_mode epsilon
    transA transB beta direction layout num_outputs select_last_index count_include_pad
"""
WORDS, ATTRIBUTES = _WORDS.split(), _ATTRIBUTES.split()
TYPES = (*TensorProto.DataType.values(), 99)
MOST_MUTATIONS = 4

Generator = random.Random
Mutation = Callable[[ModelProto, Generator], None]


def mutated(seed: bytes, generator: Generator, operators: Sequence[str]) -> bytes:
    """A model file made of `seed` by one to four mutations; some are of its bytes."""
    model = ModelProto.FromString(seed)
    for _ in range(generator.randint(1, MOST_MUTATIONS)):
        mutation = generator.choice(MUTATIONS)
        try:
            if mutation is _operator:
                _operator(model, generator, operators)
            else:
                mutation(model, generator)
        except Exception:  # nothing to mutate there, or protobuf and numpy cannot hold the value
            continue
    data = model.SerializeToString()
    return _bytes(data, generator) if generator.random() < 0.1 else data


def _bytes(data: bytes, generator: Generator) -> bytes:
    found = bytearray(data)
    for _ in range(generator.choice((1, 1, 2, 8))):
        place = generator.randrange(len(found))
        kind = generator.randrange(4)
        if kind == 0:
            found[place] ^= 1 << generator.randrange(8)
        elif kind == 1:
            found[place : place + 1] = bytes([generator.choice((0, 1, 0x7F, 0x80, 0xFF))])
        elif kind == 2:
            del found[place : place + generator.choice((1, 2, 8, len(found)))]
        else:
            found[place:place] = found[place : place + generator.choice((1, 4, 64))]
        if not found:
            break
    return bytes(found)


def _attribute(model: ModelProto, generator: Generator) -> None:
    """Another value of the same type."""
    attribute = generator.choice(generator.choice([n for n in model.graph.node if n.attribute]).attribute)
    if attribute.type == AttributeProto.INT:
        attribute.i = _integer(generator)
    elif attribute.type == AttributeProto.INTS:
        _list(attribute.ints, generator, _integer)
    elif attribute.type == AttributeProto.FLOAT:
        attribute.f = _float(generator)
    elif attribute.type == AttributeProto.FLOATS:
        _list(attribute.floats, generator, _float)
    elif attribute.type == AttributeProto.STRING:
        attribute.s = generator.choice(WORDS).encode()
    elif attribute.type == AttributeProto.TENSOR:
        _tensor(attribute.t, generator)


def _attribute_set(model: ModelProto, generator: Generator) -> None:
    """An attribute more, one less, twice, or of another type."""
    node = generator.choice(model.graph.node)
    kind = generator.randrange(4)
    if kind == 0:
        value = generator.choice([_integer(generator), _float(generator), [0, 1], generator.choice(WORDS)])
        node.attribute.append(helper.make_attribute(generator.choice(ATTRIBUTES), value))
    elif kind == 1:
        del node.attribute[generator.randrange(len(node.attribute))]
    elif kind == 2:
        node.attribute.append(generator.choice(node.attribute))
    else:
        generator.choice(node.attribute).type = generator.randrange(15)


def _operator(model: ModelProto, generator: Generator, operators: Sequence[str] = ("Relu",)) -> None:
    node = generator.choice(model.graph.node)
    node.op_type = generator.choice(operators)
    if generator.random() < 0.1:
        node.domain = generator.choice(("ai.onnx", "com.microsoft", "ai.onnx.ml", "x"))


def _wire(model: ModelProto, generator: Generator) -> None:
    """An input of a node is another tensor, none, gone, or one more."""
    node = generator.choice(model.graph.node)
    names = [value.name for value in (*model.graph.input, *model.graph.initializer)]
    names += [name for other in model.graph.node for name in other.output]
    kind = generator.randrange(5)
    if kind == 0:
        node.input[generator.randrange(len(node.input))] = generator.choice(names)
    elif kind == 1:
        node.input[generator.randrange(len(node.input))] = generator.choice(("", "nowhere"))
    elif kind == 2:
        del node.input[generator.randrange(len(node.input))]
    elif kind == 3:
        node.input.append(generator.choice(names))
    else:
        node.output[generator.randrange(len(node.output))] = generator.choice((*names, "", "new"))


def _nodes(model: ModelProto, generator: Generator) -> None:
    """A node less, twice, elsewhere, or a new one behind a tensor."""
    nodes = model.graph.node
    place = generator.randrange(len(nodes))
    kind = generator.randrange(4)
    if kind == 0 and len(nodes) > 1:
        del nodes[place]
    elif kind == 1:
        nodes.append(nodes[place])
    elif kind == 2:
        order = list(nodes)
        generator.shuffle(order)
        del nodes[:]
        nodes.extend(order)
    else:
        name = nodes[place].output[0]
        nodes[place].output[0] = f"{name}/before"
        behind = generator.choice(
            ("Relu", "Identity", "Neg", "Sigmoid", "Flatten", "Transpose", "Shape", "Sum")
        )
        nodes.insert(place + 1, helper.make_node(behind, [f"{name}/before"], [name]))


def _shape(model: ModelProto, generator: Generator) -> None:
    """The declared shape or type of an input, an output, or a tensor between."""
    values = (*model.graph.input, *model.graph.output, *model.graph.value_info)
    tensor = generator.choice(values).type.tensor_type
    kind = generator.randrange(5)
    if kind == 0:
        generator.choice(tensor.shape.dim).dim_value = _integer(generator)
    elif kind == 1:
        generator.choice(tensor.shape.dim).dim_param = generator.choice(("n", "", "-1"))
    elif kind == 2:
        del tensor.shape.dim[generator.randrange(len(tensor.shape.dim))]
    elif kind == 3:
        tensor.shape.dim.add().dim_value = generator.choice((0, 1, 2, 3))
    else:
        tensor.elem_type = generator.choice(TYPES)


def _weight(model: ModelProto, generator: Generator) -> None:
    _tensor(generator.choice(model.graph.initializer), generator)


def _tensor(tensor: TensorProto, generator: Generator) -> None:
    """Other values, another shape or type of a constant."""
    kind = generator.randrange(6)
    if kind <= 2:
        values = np.array(numpy_helper.to_array(tensor))
        if not values.size:
            return
        flat = values.reshape(-1)
        number: Any = _float(generator) if values.dtype.kind == "f" else _integer(generator)
        with np.errstate(all="ignore"):
            if kind == 0:
                flat[generator.randrange(len(flat))] = number
            elif kind == 1:
                flat[:] = number
            else:
                flat *= np.asarray(generator.choice((0, -1, 1000)), values.dtype)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    elif kind == 3:
        _list(tensor.dims, generator, _integer)
    elif kind == 4:
        tensor.data_type = generator.choice(TYPES)
    else:
        tensor.raw_data = tensor.raw_data[: generator.randrange(len(tensor.raw_data) + 1)]


def _header(model: ModelProto, generator: Generator) -> None:
    """Versions, names, what the graph gives."""
    kind = generator.randrange(5)
    if kind == 0:
        generator.choice(model.opset_import).version = generator.choice((*range(1, 27), *INTEGERS))
    elif kind == 1:
        model.ir_version = generator.choice((*range(1, 13), *INTEGERS))
    elif kind == 2:
        names = [name for node in model.graph.node for name in node.output]
        model.graph.output.append(onnx.ValueInfoProto(name=generator.choice(names)))
    elif kind == 3:
        value = generator.choice((*model.graph.input, *model.graph.output))
        value.name = generator.choice(("", "x", value.name + "2"))
    else:
        del model.graph.input[generator.randrange(len(model.graph.input))]


def _constant(model: ModelProto, generator: Generator) -> None:
    """An input becomes a constant, or a constant an input."""
    if generator.random() < 0.5:
        tensor = generator.choice(model.graph.initializer)
        shape, kind = list(tensor.dims), tensor.data_type
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, kind, shape))
        model.graph.initializer.remove(tensor)
    else:
        value = generator.choice(model.graph.input)
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        if 0 < np.prod(shape, dtype=object) < 1 << 16:
            array = np.full(shape, 0.5, np.float32)
            model.graph.initializer.append(numpy_helper.from_array(array, value.name))


def _list(values: Any, generator: Generator, one: Callable[[Generator], Any]) -> None:
    kind = generator.randrange(4)
    if kind == 0:
        values.append(one(generator))
    elif kind == 1:
        del values[generator.randrange(len(values))]
    else:
        values[generator.randrange(len(values))] = one(generator)


def _integer(generator: Generator) -> int:
    return generator.choice(INTEGERS) if generator.random() < 0.6 else generator.randint(-4, 9)


def _float(generator: Generator) -> float:
    return generator.choice(FLOATS) if generator.random() < 0.6 else generator.uniform(-3.0, 3.0)


MUTATIONS: tuple[Mutation, ...] = (
    _attribute,
    _attribute,
    _attribute_set,
    _operator,
    _wire,
    _nodes,
    _shape,
    _weight,
    _weight,
    _header,
    _constant,
)
