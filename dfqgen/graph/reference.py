"""The float network as onnxruntime computes it from the model file: what everything is compared with."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from dfqgen.errors import UserError
from dfqgen.frontend.classical import without_labels
from dfqgen.frontend.modernize import names_read
from dfqgen.frontend.read import cut_inputs, fix_inputs, needed_nodes, read_model
from dfqgen.graph.ir import Array, Graph, Shape
from dfqgen.memory import give_back

_INTEGERS = {
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(uint16)": np.uint16,
    "tensor(int16)": np.int16,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
}


class Reference:
    """An onnxruntime session on the original model, in the model's own axes.

    `outputs` names tensors of the model to give instead of the graph's outputs: where the graph was cut,
    or every layer's result. `inputs` likewise those where it was cut off its inputs. `whole` are the outputs
    without a batch axis; `fixed` are inputs made constants.
    """

    def __init__(
        self,
        path: str | Path,
        outputs: Sequence[str] | None = None,
        inputs: Sequence[str] | None = None,
        whole: Collection[str] = (),
        fixed: Mapping[str, float] | None = None,
    ) -> None:
        self._whole = frozenset(whole)
        # By way of a file: onnxruntime copies the weights twice, and here they would be twice more.
        with tempfile.TemporaryDirectory(prefix="dfqgen-") as scratch:
            cut = Path(scratch) / "model.onnx"
            self.output_names = _write_cut(Path(path), cut, outputs, inputs, fixed or {})
            give_back()
            self._session = session_of(cut, str(path))

    @classmethod
    def of(cls, path: str | Path, graph: Graph) -> Reference:
        """Between the ports of a graph that was read from this file."""
        return cls(
            path,
            outputs=[port.name for port in graph.outputs],
            inputs=[port.name for port in graph.inputs],
            whole=[port.name for port in graph.outputs if port.whole],
            fixed=graph.fixed,
        )

    @property
    def input_names(self) -> tuple[str, ...]:
        return tuple(value.name for value in self._session.get_inputs())

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name for inputs by name, each [samples, ...]; the samples run one by one.

        Inputs the network does not need may be left out. Raises UserError when onnxruntime refuses.
        """
        count = max((len(value) for value in inputs.values()), default=1)
        results: list[list[Array]] = []
        for sample in range(count):
            feeds = {
                value.name: _feed(value, inputs.get(value.name), sample)
                for value in self._session.get_inputs()
            }
            try:
                results.append(self._session.run(self.output_names, feeds))
            except Exception as error:  # onnxruntime's exceptions share no base class
                raise UserError(f"onnxruntime cannot run the model: {_first_line(error)}") from None
        return {
            name: np.concatenate([self._one(name, sample[i]) for sample in results])
            for i, name in enumerate(self.output_names)
        }

    def _one(self, name: str, value: Array) -> Array:
        """One sample's output, [1, ...]; of a batch that the file fixes, the first."""
        return value[None] if name in self._whole else np.atleast_1d(value)[:1]


def _write_cut(
    path: Path,
    cut: Path,
    outputs: Sequence[str] | None,
    inputs: Sequence[str] | None,
    fixed: Mapping[str, float],
) -> tuple[str, ...]:
    """Write what `Reference` runs of a model file, external data in it; its outputs' names."""
    model = read_model(path)
    without_labels(model)
    fix_inputs(model, fixed)
    if inputs is not None:
        cut_inputs(model, inputs)
    if outputs is not None:
        _expose(model, outputs)
    for node in model.graph.node:
        node.name = ""  # onnxruntime refuses names that occur twice; ONNX does not
    names = tuple(value.name for value in model.graph.output)
    # What no output depends on may be what made the user cut the graph: do not run it.
    nodes = needed_nodes(model.graph.node, names)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    read = set().union(names, *(names_read(node) for node in nodes))
    kept = [value for value in model.graph.input if value.name in read]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    cut.write_bytes(model.SerializeToString())
    return names


def session_of(model: Path | bytes, name: str) -> onnxruntime.InferenceSession:
    """onnxruntime on a model that has no external data, a file or its bytes; `name` is what errors call it.

    QuantizeLinear and DequantizeLinear are computed as ONNX has them.

    Its fused int8 kernels saturate on processors without VNNI, which says something of the processor, not of
    the model. Raises UserError where it refuses the model.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # its log would write the model's names to the terminal as they are
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no base class
        raise UserError(f"onnxruntime cannot load {name}: {_first_line(error)}") from None


def _feed(value: onnxruntime.NodeArg, samples: Array | None, sample: int) -> Array:
    """What one input is given for one sample: the same for all of a batch that the file fixes."""
    dtype = _INTEGERS.get(value.type, np.float32)
    if samples is None:
        return np.zeros(_batch_of_one(value.shape), dtype)
    one = samples[sample]
    if one.ndim < len(value.shape):
        batch = value.shape[0] if isinstance(value.shape[0], int) else 1
        one = np.repeat(one[None], max(batch, 1), axis=0)
    return (one if dtype is np.float32 else np.rint(one)).astype(dtype)


def _expose(model: onnx.ModelProto, names: Sequence[str]) -> None:
    """Make these tensors the outputs; onnxruntime infers the types that the file does not declare."""
    declared = {
        value.name: onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in model.graph.output
    }
    del model.graph.output[:]
    model.graph.output.extend(
        declared.get(name, onnx.ValueInfoProto(name=name)) for name in dict.fromkeys(names)
    )


def _batch_of_one(shape: Sequence[int | str | None]) -> Shape:
    return tuple(n if isinstance(n, int) and n > 0 else 1 for n in shape)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
