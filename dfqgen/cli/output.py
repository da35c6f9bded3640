"""Facts -> tables on the terminal. Text from models is never read as rich markup."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dfqgen.report.words import count_text, meaning_text, percent_text, shape_text, size_text, sqnr_text
from dfqgen.units import duration_text

Facts = Mapping[str, Any]


def printable(text: object) -> str:
    """Text without control characters that a terminal would obey."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in str(text))


def status_text(stage: str) -> Text:
    """A stage of the work for the progress line."""
    return Text(printable(stage))


def print_json(facts: Facts) -> None:
    """One object on standard output."""
    json.dump(facts, sys.stdout, indent=2, ensure_ascii=True, allow_nan=False)
    sys.stdout.write("\n")


def print_error(message: str, console: Console) -> None:
    """The one paragraph a user reads when something is wrong."""
    console.print(Text.assemble(("error: ", "bold red"), printable(message)), soft_wrap=True)


def print_warnings(warnings: Iterable[str], console: Console) -> None:
    for warning in warnings:
        console.print(Text.assemble(("warning: ", "bold yellow"), printable(warning)), soft_wrap=True)


def _table(*columns: str, right: Iterable[str] = (), title: str | None = None) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    numeric = set(right)
    for column in columns:
        right_side = column in numeric
        table.add_column(
            column, justify="right" if right_side else "left", overflow="fold", no_wrap=right_side
        )
    return table


def _row(table: Table, *cells: object) -> None:
    table.add_row(*(Text(printable(cell)) for cell in cells))


def _of_budget(used: int, limit: int | None) -> str:
    return size_text(used) + (f" of {size_text(limit)}" if limit is not None else "")


def _spent(sizes: Facts) -> str:
    """What speed costs in flash."""
    spent = sizes["speed_bytes"]
    return f", {size_text(spent)} of it for speed" if spent else ""


def print_build(facts: Facts, console: Console) -> None:
    """The summary of a build."""
    sizes, target = facts["sizes"], facts["target"]
    table = _table("", "")
    table.show_header = False
    layers = len(facts["layers"])
    _row(table, "network", f"{facts['network']}, {layers} layers, {count_text(sizes['macs'])} MACs")
    _row(table, "target", f"{target['name']}: {target['description']}")
    for entry in facts["meanings"]:
        _row(table, "input", f"{entry['input']}: {meaning_text(entry)}")
    for entry in facts["states"]:
        _row(
            table,
            "state",
            f"{entry['name']}: {shape_text(entry['shape'])} {entry['type']}, kept in the network",
        )
    code = "constants only" if sizes["code_bytes"] is None else f"code {size_text(sizes['code_bytes'])}"
    _row(table, "flash", f"{_of_budget(sizes['flash_bytes'], target['flash_bytes'])}, {code}{_spent(sizes)}")
    arena = _of_budget(sizes["arena_bytes"], target["ram_bytes"])
    bound = size_text(sizes["arena_lower_bound_bytes"])
    _row(table, "RAM", f"{arena}, arena (lower bound without overwriting inputs: {bound})")
    if sizes["stack_bytes"] is not None:
        _row(table, "stack", f"{size_text(sizes['stack_bytes'])} at most, of {facts['network']}_invoke()")
    if facts["time"] is not None:
        _row(table, "time", time_text(facts["time"]))
    for step in facts["steps"]:
        if step["step"] in ("activations", "predicted"):
            _row(table, step["step"], step["effect"])
    _row(table, "C = reference", facts["verification"]["summary"])
    console.print(table)
    print_comparison(facts["comparison"], console)
    if facts["per_layer"]:
        print_layers(facts["layers"], console)
    if "qdq" in facts:
        print_qdq(facts["qdq"], console)
    console.print(Text(printable(f"\n{facts['folder']}: C, manifest.json and report.html")), soft_wrap=True)


def time_text(time: Facts) -> str:
    """An estimate of one inference."""
    known = time["cycles_per_instruction"]
    cycles = f"{known:g} cycles each" if known else "taken as one cycle each"
    waits = time["wait_cycles_per_instruction"]
    if waits is None:
        cycles += ", waits of the flash not counted"
    elif waits:
        cycles += f" and {waits:.2f} waiting for the flash"
    instructions = f"{count_text(time['instructions'])} instructions by measured prices, {cycles}"
    return f"about {duration_text(time['seconds'])} at {time['clock_hz'] / 1e6:g} MHz ({instructions})"


def print_comparison(comparison: Facts, console: Console) -> None:
    """Integers against the float network."""
    outputs = comparison["outputs"]
    if not outputs:
        return
    columns = ["output", "samples", "SQNR", "largest error", "top-1 agreement"]
    labelled = any(output["accuracy"] is not None for output in outputs)
    columns += ["float accuracy", "C accuracy"] if labelled else []
    stepped = [output for output in outputs if output.get("same_step") is not None]
    runner = "onnxruntime" if len(stepped) == len(outputs) else "onnxruntime float"
    table = _table(*columns, right=columns[1:], title=f"\nAgainst {runner}, on {comparison['source']}")
    for output in outputs:
        cells = [
            output["name"],
            output["samples"],
            sqnr_text(output),
            f"{output['max_error']:.4g}",
            percent_text(output["top1_agreement"]),
        ]
        if labelled:
            cells += [percent_text(output["float_accuracy"]), percent_text(output["accuracy"])]
        _row(table, *cells)
    console.print(table)
    for output in stepped:
        same, near = percent_text(output["same_step"]), percent_text(output["within_step"])
        text = f"{output['name']}: {same} of the values are the model's own integers, {near} within a step"
        console.print(Text(printable(text)), soft_wrap=True)
    for output in outputs:
        if output["undefined"]:
            text = f"{output['name']}: {output['undefined']:,} values are infinite in float and left out"
            console.print(Text(printable(text)), soft_wrap=True)


_MEASURES = (
    ("top1", "top-1", percent_text),
    ("top5", "top-5", percent_text),
    ("top1_agreement", "top-1 agreement", percent_text),
    ("mean_iou", "mean IoU with float", percent_text),
    ("equal", "equal indices", percent_text),
    ("max_error", "largest error", "{:.4g}".format),
)


def print_evaluation(facts: Facts, console: Console) -> None:
    """Accuracy, output by output, float beside C."""
    table = _table("output", "measure", "float", "C", right=("float", "C"))
    for output in facts["outputs"]:
        _row(table, output["name"], "SQNR", "", sqnr_text(output))
        for key, label, show in _MEASURES:
            if key in output:
                reference = percent_text(output[f"float_{key}"]) if f"float_{key}" in output else ""
                _row(table, output["name"], label, reference, show(output[key]))
    if "boxes" in facts:
        boxes = facts["boxes"]
        _row(table, "boxes", "of float's boxes found", boxes["float"], percent_text(boxes["recall"]))
        _row(table, "boxes", "invented", "", boxes["invented"])
    console.print(table)
    speed = f"{facts['host_ms_per_sample']:.3g} ms a sample and core"
    console.print(Text(f"{facts['samples']} samples, C compiled for this machine: {speed}"))


def print_layers(layers: Iterable[Facts], console: Console) -> None:
    """Every layer, with its distance from the float network where it was measured."""
    columns = ("layer", "what", "output", "MACs", "constants", "SQNR", "largest error")
    table = _table(*columns, right=columns[2:], title="\nLayers")
    for layer in layers:
        measured = "sqnr_db" in layer
        _row(
            table,
            layer["layer"],
            layer["title"],
            shape_text(layer["output"]["shape"]),
            count_text(layer["macs"]),
            f"{layer['weight_bytes']:,}",
            sqnr_text(layer) if measured else "",
            f"{layer['max_error']:.4g}" if measured else "",
        )
    console.print(table)


def print_board_run(facts: Facts, console: Console) -> None:
    """Cycles of every layer on a real board, beside what was estimated."""
    columns = ("layer", "what", "MACs", "cycles", "per MAC", "est. instructions")
    table = _table(*columns, right=columns[2:], title=f"On the board at {facts['port']}")
    whole = {"layer": "one inference", "title": "", "estimated_instructions": None, **facts}
    for layer in [*facts["layers"], whole]:
        macs, cycles, estimated = layer["macs"], layer["cycles"], layer["estimated_instructions"]
        _row(
            table,
            layer["layer"],
            layer["title"],
            count_text(macs) if macs else "",
            f"{cycles:,}" if cycles else "-",
            f"{cycles / macs:.2f}" if cycles and macs else "",
            "" if estimated is None else f"{estimated:,}",
        )
    console.print(table)
    again = facts["repeated_frames"]
    cable = f" {again} frames were sent again." if again else ""
    console.print(Text(f"\nEvery bit equals the reference, on {facts['vectors']} golden vectors.{cable}"))


def print_run(facts: Facts, console: Console) -> None:
    """Instructions of every layer on an emulated board."""
    if "port" in facts:
        print_board_run(facts, console)
        return
    columns = ("layer", "MACs", "instructions", "per MAC")
    table = _table(*columns, right=columns[1:], title=f"On {facts['target']} ({facts['machine']}, QEMU)")
    for layer in [
        *facts["layers"],
        {"layer": "total", "macs": facts["macs"], "instructions": facts["instructions"]},
    ]:
        macs, instructions = layer["macs"], layer["instructions"]
        ratio = f"{instructions / macs:.2f}" if macs else ""
        _row(table, layer["layer"], count_text(macs) if macs else "", f"{instructions:,}", ratio)
    console.print(table)
    flash = f"code {size_text(facts['text_bytes'])}, constants {size_text(facts['rodata_bytes'])}"
    ram = f"arena {size_text(facts['arena_bytes'])}, stack {size_text(facts['stack_bytes'])}"
    console.print(Text(f"\nEvery bit equals the reference. Flash: {flash}. RAM: {ram}."), soft_wrap=True)


def print_profile(facts: Facts, console: Console) -> None:
    """Where the time goes, layer by layer."""
    timed = facts["cycles"] is not None
    columns = ["layer", "what", "MACs", "instructions", "per MAC"]
    columns += ["est. cycles", "share", "ms"] if timed else ["share"]
    table = _table(*columns, right=columns[2:], title=f"{facts['target']}, instructions counted in QEMU")
    total = {"layer": "total", "title": "", "share": 1.0, **facts}
    for layer in [*facts["layers"], total]:
        macs, ratio = layer["macs"], layer["instructions_per_mac"]
        cells = [_end_of(layer["layer"]), layer["title"], count_text(macs) if macs else ""]
        cells.append(f"{layer['instructions']:,}")
        cells.append("" if ratio is None else f"{ratio:.2f}")
        cells += [f"{layer['cycles']:,}"] if timed else []
        cells.append(f"{100 * layer['share']:.1f} %")
        cells += [f"{layer['milliseconds']:.3f}"] if timed else []
        _row(table, *cells)
    console.print(table)
    if timed:
        note = f"Milliseconds at {facts['clock_hz'] / 1e6:g} MHz; cycles are estimated, without wait states."
    else:
        note = f"No cycles: {facts['target']} has no cycle model."
    saved = " and ".join(facts["saved"])
    console.print(Text(printable(f"\n{note} Saved in {facts['folder']}: {saved}.")), soft_wrap=True)


def _end_of(name: str, width: int = 22) -> str:
    """A layer's name; of a long one the end, which tells layers apart."""
    return name if len(name) <= width else f"…{name[1 - width :]}"


def print_verify(facts: Facts, console: Console) -> None:
    """The bits, and what was measured where the model was given."""
    console.print(Text(printable(f"{facts['network']}: {facts['verification']['summary']}")), soft_wrap=True)
    if facts["comparison"]:
        print_comparison(facts["comparison"], console)
    if facts["layers"]:
        print_layers(facts["layers"], console)


def print_export(facts: Facts, console: Console) -> None:
    """The file, and how onnxruntime's integers differ from the C's."""
    print_qdq(facts, console)
    console.print(Text(printable(f"\n{facts['file']}: {facts['network']}")), soft_wrap=True)


def print_qdq(facts: Facts, console: Console) -> None:
    """Layer by layer, each on the same integers; what differs is rounding."""
    columns = ("layer", "values", "differ", "largest step")
    title = f"\nonnxruntime beside the C, each layer on the same {facts['samples']} inputs"
    table = _table(*columns, right=columns[1:], title=title)
    for layer in facts["layers"]:
        share = f"{100 * layer['differ'] / layer['values']:.3f} %" if layer["differ"] else "none"
        _row(table, layer["layer"], f"{layer['values']:,}", share, layer["largest_steps"])
    console.print(table)


def print_inspect(facts: Facts, console: Console) -> None:
    """The text of the graph or the program, as it is."""
    console.print(Text(facts["text"]), soft_wrap=True, end="")
    if facts["estimate"]:
        print_estimate(facts["estimate"], console)


def print_estimate(estimate: Facts, console: Console) -> None:
    """Instructions that nobody has counted yet."""
    columns = ("layer", "kernel", "MACs", "est. instructions", "per MAC")
    title = f"\n{estimate['target']}, estimated for {estimate['optimize']}"
    table = _table(*columns, right=columns[2:], title=title)
    for layer in [*estimate["layers"], {"layer": "total", "kernel": "", "measured": True, **estimate}]:
        macs, instructions = layer["macs"], layer["instructions"]
        _row(
            table,
            layer["layer"],
            layer["kernel"],
            count_text(macs) if macs else "",
            f"{'' if layer['measured'] else 'about '}{instructions:,}",
            f"{instructions / macs:.2f}" if macs else "",
        )
    console.print(table)


def print_synthesis(facts: Facts, console: Console) -> None:
    """How diverse the samples are, and where they lie."""
    loss = "" if facts["loss"] is None else f", loss {facts['loss'][0]:.3g} -> {facts['loss'][1]:.3g}"
    console.print(Text(printable(f"{facts['samples']} samples from {facts['source']}{loss}")), soft_wrap=True)
    columns = ("", "spread from sample to sample", "off on average")
    table = _table(
        *columns, right=columns[1:], title="\nMeans of features, in units of the layer's trained deviation"
    )
    for name, measured in facts["diversity"].items():
        _row(table, name, f"{measured['spread']:.3f}", f"{measured['off']:.3f}")
    console.print(table)
    console.print(Text(printable("\n" + "\n".join(facts["files"]))), soft_wrap=True)


def print_exploration(facts: Facts, console: Console) -> None:
    """The builds that no other one beats."""
    measure = facts["measure"]
    right = (measure, "flash", "RAM", "time")
    table = _table("model", "target", *right, "bits, types", right=right, title="Beaten by no other build")
    best = [point for point in facts["points"] if point["front"]]
    for point in sorted(best, key=lambda p: (p["target"], p["model"], -(p[measure] or 0.0))):
        quality = sqnr_text(point[measure]) if measure == "sqnr_db" else percent_text(point[measure])
        _row(
            table,
            point["model"],
            point["target"],
            quality,
            size_text(point["flash_bytes"]),
            size_text(point["arena_bytes"]),
            "-" if point["seconds"] is None else duration_text(point["seconds"]),
            point["choice"],
        )
    console.print(table)
    text = f"\n{len(facts['points'])} builds, {len(best)} of them above, {len(facts['failed'])} not possible"
    console.print(Text(printable("\n".join([text, *facts["files"]]))), soft_wrap=True)


def print_targets(facts: Facts, console: Console) -> None:
    """The machines dfqgen knows, or those that were searched for."""
    if facts["targets"]:
        console.print(_cores_table(facts["targets"]))
    if facts["parts"] and facts["search"] is None:
        console.print(Text(f"\nand {len(facts['parts'])} parts: dfqgen targets --search stm32"))
    elif facts["parts"]:
        console.print(_parts_table(facts["parts"]))
    if not facts["targets"] and not facts["parts"]:
        console.print(Text(f"Nothing has {printable(facts['search'])} in its name, boards or description."))


def _cores_table(cores: Iterable[Facts]) -> Table:
    table = _table("core", "flash", "RAM", "scales", "emulator", "description", right=("flash", "RAM"))
    for core in cores:
        _row(
            table,
            core["name"],
            size_text(core["flash_bytes"]),
            size_text(core["ram_bytes"]),
            core["scales"],
            core["emulator"] or "-",
            core["description"],
        )
    return table


def _parts_table(parts: Iterable[Facts]) -> Table:
    right = ("MHz", "flash", "RAM")
    table = _table("part", "core", *right, "vendor", "description", "boards", right=right)
    for part in parts:
        _row(
            table,
            part["name"],
            part["core"],
            f"{part['clock_hz'] / 1e6:.0f}",
            "outside" if part["flash_bytes"] is None else size_text(part["flash_bytes"]),
            size_text(part["ram"][0]["bytes"]),
            part["vendor"],
            part["description"],
            ", ".join(part["boards"]),
        )
    return table


def print_doctor(facts: Facts, console: Console) -> None:
    """What is there, and for what is missing how to get it."""
    title = f"dfqgen {facts['dfqgen']}, Python {facts['python']}, {facts['system']}"
    table = _table("", "there", "for", title=title)
    for tool in [*facts["tools"], *facts["packages"]]:
        there = tool["version"] or f"no: {tool['install']}"
        _row(table, tool["name"], there, tool["purpose"])
    console.print(table)
    if not facts["ready"]:
        console.print(Text("\nWithout a C compiler, generated C is written but not checked."))
