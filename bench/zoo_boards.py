"""The networks of bench/zoo.py on emulated boards: do the golden vectors come out on every bit?

    python bench/zoo_boards.py --shared ../shared [--only ic01_resnet8] [--write docs/zoo.md]

Each network is built by default options for each target, without data, and its firmware with two golden
vectors runs in QEMU. What exceeds the target's flash or RAM is not run. Networks that are given by --only
take the place of their rows.
"""

from __future__ import annotations

import logging
import multiprocessing
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from subjects import chosen_names, replace_table, table_parser
from zoo import first_line
from zoo_networks import CONSTANT_INPUTS, Network, read_zoo

from dfqgen.compile import compile_model
from dfqgen.emit.package import emit, write_folder
from dfqgen.errors import DfqgenError
from dfqgen.plan.planner import plan_for
from dfqgen.recipe import Choices, make_recipe
from dfqgen.targets import load_target
from dfqgen.verify.firmware import run_firmware

TARGETS = ("cortex-m4", "cortex-m55")
MARKER = "boards table"
KIB = 1024


def result(network: Network, shared: Path, name: str) -> str:
    """A cell of the table."""
    logging.disable(logging.WARNING)
    fixed = {key: float(value) for key, value in CONSTANT_INPUTS.items()}
    model, target = network.path(shared), load_target(name)
    choices = Choices(target=name, input_shape=network.shapes, state={})
    if network.meaning is not None:
        choices["meaning"] = network.meaning
    if network.name.startswith("silero"):
        choices["fix"] = fixed
    try:
        compiled = compile_model(model, make_recipe(**choices))
        plan = plan_for(compiled.program, compiled.recipe.code, target)
        arena, constants = plan.arena_bytes, plan.array_bytes
        if target.ram_bytes is not None and arena > target.ram_bytes:
            return f"an arena of {arena / KIB:.0f} KB, of {target.ram_bytes / KIB:.0f}"
        if target.flash_bytes is not None and constants > target.flash_bytes:
            return f"constants of {constants / KIB:.0f} KB, of {target.flash_bytes / KIB:.0f}"
        with tempfile.TemporaryDirectory(prefix="dfqgen-") as folder:
            out = Path(folder) / "out"
            write_folder(emit(compiled.program, plan, target), out)
            ran = run_firmware(out, target)
    except DfqgenError as error:
        return first_line(error)
    exact = "exact" if ran.passed else f"**{ran.wrong_values} values are wrong**"
    return f"{exact}, {ran.instructions / 1e6:.2f} M, {ran.flash_bytes / KIB:.0f} KB, {arena / KIB:.1f} KB"


def known_rows(document: Path | None) -> dict[str, str]:
    """Rows of the document's table, by network."""
    if document is None:
        return {}
    _, _, rest = document.read_text().partition(f"<!-- {MARKER} -->\n")
    rows = [line for line in rest.partition("<!-- end -->")[0].splitlines() if line.startswith("| ")]
    return {line.split("|")[1].strip(): line for line in rows[1:]}


def main() -> None:
    parser = table_parser(__doc__)
    arguments = parser.parse_args()
    zoo = read_zoo(arguments.shared)
    names = chosen_names(parser, arguments.only, zoo)
    rows = known_rows(arguments.write)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as pool:
        for name in names:
            cells = [pool.submit(result, zoo[name], arguments.shared, target).result() for target in TARGETS]
            rows[name] = f"| {name} | {' | '.join(cells)} |"
            print(rows[name], file=sys.stderr, flush=True)
            ordered = [rows[known] for known in zoo if known in rows]
            table = "\n".join([f"| network | {' | '.join(TARGETS)} |", "|---" * 3 + "|", *ordered])
            if arguments.write:
                replace_table(arguments.write, table, MARKER)
    print(table)


if __name__ == "__main__":
    main()
