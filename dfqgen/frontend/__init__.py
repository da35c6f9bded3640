"""ONNX file to float Graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from dfqgen.errors import UnsupportedModel, UserError
from dfqgen.frontend.classical import without_labels
from dfqgen.frontend.fold import fold_constants
from dfqgen.frontend.importers import import_model, supported_operators
from dfqgen.frontend.read import cut_inputs, cut_outputs, fix_inputs, fixed_input_shapes, read_model
from dfqgen.frontend.states import tie_states
from dfqgen.graph.ir import Graph, Shape
from dfqgen.passes.contract import apply_passes
from dfqgen.passes.importing import IMPORT_PASSES, PORTS_CHANNELS_LAST, ROWS_ALONG_WIDTH

__all__ = ["load", "supported_operators"]


def load(
    path: str | Path,
    *,
    input_shapes: Mapping[str, Shape] | None = None,
    io_layout: str = "nhwc",
    rows_along: str = "height",
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    states: Mapping[str, str] | None = None,
    fixed: Mapping[str, float] | None = None,
) -> Graph:
    """Read an ONNX file into a float Graph, channels last, BatchNorm still visible.

    `input_shapes` fixes dynamic inputs (in the model's axes, batch 1). `io_layout` "nhwc" lets the ports
    take and give channels last, "nchw" keeps the model's axes there. `rows_along` "width" takes images by
    columns, [1,W,H,C], and turns the network (`passes/rows_along_width.py`). `inputs` and `outputs` cut the
    graph at these tensors of the model. `states` ties inputs to outputs by name (`tie_states`),
    `fixed` inputs are constants of these values.

    Raises ModelFileError for a bad file, UserError for inputs that must be fixed or names that do not
    exist, UnsupportedModel with every node that cannot be compiled.
    """
    if io_layout not in ("nhwc", "nchw"):
        raise UserError(f"io_layout {io_layout!r} is neither 'nhwc' nor 'nchw'")
    model = read_model(path)
    remarks = without_labels(model)
    fix_inputs(model, fixed or {})
    if outputs is not None:
        cut_outputs(model, outputs)
    if inputs is not None:
        cut_inputs(model, inputs)
    shapes = fixed_input_shapes(model, input_shapes)
    kept_as_is = frozenset(states.values()) if states else frozenset()
    graph = tie_states(import_model(fold_constants(model, shapes), kept_as_is), states)
    left_out = [] if io_layout == "nhwc" else [PORTS_CHANNELS_LAST]
    if rows_along == "height":
        left_out.append(ROWS_ALONG_WIDTH)
    graph, _, _ = apply_passes([step for step in IMPORT_PASSES if step not in left_out], graph, {})
    if not graph.nodes:
        raise UnsupportedModel("nothing is left to compute: the outputs are the inputs")
    return replace(graph, fixed=dict(fixed or {}), remarks=(*remarks, *graph.remarks))
