"""Recurrent keyword spotters with weights of fewer bits: what they gain and what they cost.

    python bench/recurrent_bits.py --shared ../shared [--only armkws_LSTM] [--write docs/kernels.md]

All other choices are the defaults. SQNR against the float network on up to 64 own samples, by the integer
reference; flash and instructions of one inference on emulated boards, which reproduce two golden vectors.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from subjects import chosen_names, replace_table, table_parser
from zoo_networks import Network, read_zoo, subject

from dfqgen.compile import Compiled, compile_model
from dfqgen.emit.package import emit, write_folder
from dfqgen.ops.recurrent import Recurrent
from dfqgen.plan.planner import plan_for
from dfqgen.recipe import Choices, make_recipe
from dfqgen.verify.compare import ErrorMeter
from dfqgen.verify.firmware import run_firmware

NETWORKS = ("armkws_LSTM", "armkws_GRU")
WIDTHS = (8, 6, 4, 3, 2)
TARGETS = ("cortex-m4", "cortex-m55")
SAMPLES = 64
MARKER = "recurrent bits table"
KIB = 1024


def compiled_for(network: Network, shared: Path, target: str, bits: int) -> Compiled:
    """With so many bits in recurrent layers."""
    choices = Choices(target=target, input_shape=network.shapes)
    if network.meaning is not None:
        choices["meaning"] = network.meaning
    model = network.path(shared)
    plain = compile_model(model, make_recipe(**choices))
    if bits == 8:
        return plain
    nodes = plain.quantized.prepared.graph.nodes
    choices["bits_map"] = {node.name: bits for node in nodes if isinstance(node.op, Recurrent)}
    return compile_model(model, make_recipe(**choices))


def sqnr_db(compiled: Compiled, network: Network, shared: Path) -> float:
    """Of the one output."""
    graph, program = compiled.network.graph, compiled.program
    (port,), (result,) = graph.inputs, graph.outputs
    (raw,) = subject(network, shared, SAMPLES).raw.values()
    raw = raw.reshape(len(raw), *port.shape[1:])
    inputs = compiled.network.normalize({port.tensor: raw})
    expected = graph.evaluate(inputs)[result.tensor]
    meter = ErrorMeter()
    meter.add(expected, program.run(next(iter(inputs.values()))))
    return meter.sqnr_db


def on_board(compiled: Compiled) -> tuple[int, int]:
    """Instructions of one inference, and bytes of flash. Raises where a value is wrong."""
    target = compiled.target
    plan = plan_for(compiled.program, compiled.recipe.code, target)
    with tempfile.TemporaryDirectory(prefix="dfqgen-") as folder:
        out = Path(folder) / "out"
        write_folder(emit(compiled.program, plan, target), out)
        ran = run_firmware(out, target)
    if not ran.passed:
        raise SystemExit(f"{ran.wrong_values} values are wrong on {target.name}")
    return ran.instructions, ran.flash_bytes


def row(network: Network, shared: Path, bits: int) -> str:
    cells, decibels = [], 0.0
    for name in TARGETS:
        compiled = compiled_for(network, shared, name, bits)
        decibels = sqnr_db(compiled, network, shared)
        instructions, flash_bytes = on_board(compiled)
        cells.append(f"{instructions / 1e6:.2f} M, {flash_bytes / KIB:.0f} KB")
    return f"| {network.name} | {bits} | {decibels:.1f} dB | {' | '.join(cells)} |"


def main() -> None:
    parser = table_parser(__doc__)
    arguments = parser.parse_args()
    zoo = read_zoo(arguments.shared)
    names = chosen_names(parser, arguments.only, {name: zoo[name] for name in NETWORKS})
    lines = [f"| network | bits | SQNR | {' | '.join(TARGETS)} |", "|---|--:" + "|---" * 3 + "|"]
    for name in names:
        for bits in WIDTHS:
            lines.append(row(zoo[name], arguments.shared, bits))
            print(lines[-1], flush=True)
    if arguments.write:
        replace_table(arguments.write, "\n".join(lines), MARKER)


if __name__ == "__main__":
    main()
