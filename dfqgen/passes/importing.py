"""The passes between the importers and the float graph, in order."""

from __future__ import annotations

from dfqgen.passes.channels_last import ports_to_channels_last
from dfqgen.passes.contract import Pass, of_graph
from dfqgen.passes.fold_affine import affine_to_conv
from dfqgen.passes.fuse_pointwise import fuse_pointwise
from dfqgen.passes.join_lstm_states import join_lstm_states
from dfqgen.passes.layout import sink
from dfqgen.passes.recognise import recognise
from dfqgen.passes.rows_along_width import rows_along_width
from dfqgen.passes.simplify import simplify
from dfqgen.passes.split_wide_weights import split_wide_weights
from dfqgen.passes.state_types_once import state_types_once
from dfqgen.passes.tidy_names import tidy_names

PORTS_CHANNELS_LAST = of_graph("let ports be channels last", ports_to_channels_last)
"""Left out where the ports shall keep the model's axes."""

ROWS_ALONG_WIDTH = of_graph("let columns be rows", rows_along_width)
"""Left out but where that is asked for."""

IMPORT_PASSES: tuple[Pass, ...] = (
    of_graph("recognise idioms", recognise),
    of_graph("sink transposes", sink),
    PORTS_CHANNELS_LAST,
    ROWS_ALONG_WIDTH,
    of_graph("join states of LSTMs", join_lstm_states),
    of_graph("simplify", simplify),
    of_graph("scale channels by convolutions", affine_to_conv),
    of_graph("sink their reshapes", sink),
    of_graph("simplify again", simplify),
    of_graph("state types once", state_types_once),
    of_graph("split wide weights", split_wide_weights),
    of_graph("fuse pointwise functions", fuse_pointwise),
    of_graph("tidy names", tidy_names),
)
