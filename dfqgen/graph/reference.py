"""The float network as onnxruntime computes it from the model file: what everything is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from dfqgen.errors import UserError
from dfqgen.frontend.modernize import names_read
from dfqgen.frontend.read import needed_nodes, read_model
from dfqgen.graph.ir import Array, Shape


class Reference:
    """An onnxruntime session on the original model, in the model's own axes.

    `outputs` names tensors of the model to give instead of the graph's outputs: where the graph was cut,
    or every layer's result.
    """

    def __init__(self, path: str | Path, outputs: Sequence[str] | None = None) -> None:
        model = read_model(path)
        if outputs is not None:
            _expose(model, outputs)
        for node in model.graph.node:
            node.name = ""  # onnxruntime refuses names that occur twice; ONNX does not
        self.output_names = tuple(value.name for value in model.graph.output)
        # What no output depends on may be what made the user cut the graph: do not run it.
        nodes = needed_nodes(model.graph.node, self.output_names)
        del model.graph.node[:]
        model.graph.node.extend(nodes)
        read = set().union(self.output_names, *(names_read(node) for node in nodes))
        inputs = [value for value in model.graph.input if value.name in read]
        del model.graph.input[:]
        model.graph.input.extend(inputs)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        try:
            # From memory: external data was read and checked already.
            self._session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise UserError(f"onnxruntime cannot load {path}: {_first_line(error)}") from None

    @property
    def input_names(self) -> tuple[str, ...]:
        return tuple(value.name for value in self._session.get_inputs())

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name for inputs by name, each [samples, ...]; the samples run one by one.

        Inputs the network does not need may be left out. Raises UserError when onnxruntime refuses.
        """
        count = max((len(value) for value in inputs.values()), default=1)
        fixed = {
            value.name: np.zeros(_batch_of_one(value.shape), np.float32)
            for value in self._session.get_inputs()
            if value.name not in inputs
        }
        results: list[list[Array]] = []
        for sample in range(count):
            feeds = {name: value[sample : sample + 1].astype(np.float32) for name, value in inputs.items()}
            try:
                results.append(self._session.run(self.output_names, {**fixed, **feeds}))
            except Exception as error:  # onnxruntime's exceptions share no base class
                raise UserError(f"onnxruntime cannot run the model: {_first_line(error)}") from None
        return {
            name: np.concatenate([np.atleast_1d(sample[i]) for sample in results])
            for i, name in enumerate(self.output_names)
        }


def _expose(model: onnx.ModelProto, names: Sequence[str]) -> None:
    """Make these tensors the outputs; onnxruntime infers their types."""
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in dict.fromkeys(names))


def _batch_of_one(shape: Sequence[int | str | None]) -> Shape:
    return tuple(n if isinstance(n, int) and n > 0 else 1 for n in shape)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
