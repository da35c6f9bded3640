"""docs/speed.md from the results of bench/cortex_m.py."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import mlperf_tiny

Row = Mapping[str, Any]

NETWORKS = ("ic01", "vww01", "vww01-dead", "kws01", "ad01")
TARGETS = ("cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55", "cortex-m3", "cortex-m0plus", "riscv32imc")
CYCLE_GOAL = 0.55
ESTIMATE_GOAL = 0.15
HOST_GOAL_MS = 150.0
SPARING = "/no-winograd"
"""Ends the keys of networks with `--winograd off`."""

INTRODUCTION = """# Speed and size

Written by `bench/cortex_m.py --write-docs`; do not edit. The networks are those of MLPerf Tiny, int8: image
classification (ic01), visual wake words (vww01), keyword spotting (kws01), anomaly detection (ad01).

**Instructions** are counted exactly in QEMU, for one inference, everything between input and output.
*Quoted* are those of CMSIS-NN inside the TFLite Micro interpreter in its best configuration (GCC 12.2),
measured once for this project. *CMSIS-NN here* are its wrapper functions, built and called in the same run by
`--cmsis-nn PATH`, on the same layers with the same weights, and no interpreter; its results are checked
against ours (to a difference of 2 in an int8, since it rounds twice).

*vww01-dead* is vww01 with `--no-fold-dead`. Many of its channels are dead, and by default dfqgen takes them
out: the row of vww01 compares fewer multiply-accumulates with all of those in the quoted figure, that of
vww01-dead the same ones.

**Cycles** are estimated from the same counts by address with the cycle model in `targets/<target>.toml`, for
memory without wait states; the same model for both sides. An instruction is not a cycle: LDM and LDRD are one
instruction each.

    python bench/cortex_m.py --shared ../shared --cmsis-nn ../CMSIS-NN --results speed.json
    python bench/cortex_m.py --layers --cmsis-nn ../CMSIS-NN --results speed.json
    python bench/cortex_m.py --networks ic01,vww01,kws01,ad01 --optimize size --results speed.json
    python bench/cortex_m.py --networks ic01 --winograd off --results speed.json
    python bench/cmsis_flags.py --cmsis-nn ../CMSIS-NN --targets cortex-m4 --results speed.json
    python bench/cortex_m.py --large --results speed.json
    python bench/cortex_m.py --host --targets "" --results speed.json
    python bench/cortex_m.py --networks "" --results speed.json --write-docs

A figure in **bold** misses its goal.
"""


def render_docs(results: Mapping[str, Any]) -> str:
    """The page, from results by key; parts that were not measured are left out."""
    networks = {
        (row["network"], row["target"]): row
        for key, row in results.items()
        if key.startswith("network/") and row["optimize"] == "speed" and not key.endswith(SPARING)
    }
    rows = [networks[n, t] for t in TARGETS for n in NETWORKS if (n, t) in networks]
    small = sorted(
        (row for key, row in results.items() if key.startswith("network/") and row["optimize"] == "size"),
        key=lambda row: (TARGETS.index(row["target"]), NETWORKS.index(row["network"])),
    )
    layers = [row for key, row in sorted(results.items()) if key.startswith("layer/")]
    estimates = [row for key, row in sorted(results.items()) if key.startswith("estimate/")]
    misses: list[str] = []
    parts = [
        INTRODUCTION,
        _instructions(rows, misses),
        _cycles(rows, misses),
        _boards(networks),
        _dual_issue(networks),
        _flags(results, networks),
        _riscv(networks),
        _layers(layers),
        _sizes(rows, misses),
        _spent(results, networks),
        _estimates([*rows, *estimates], misses),
        _small(small, networks),
        _host(results.get("host"), misses),
        "## What misses its goal\n\n"
        + ("\n".join(f"- {miss}" for miss in misses) or "Nothing that was measured."),
    ]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def _table(head: Sequence[str], lines: Iterable[Sequence[str]], text_columns: int = 1) -> str:
    rule = ["---"] * text_columns + ["--:"] * (len(head) - text_columns)
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, rule, *lines))


def _judged(text: str, good: bool) -> str:
    return text if good else f"**{text}**"


def _instructions(rows: Sequence[Row], misses: list[str]) -> str:
    if not rows:
        return ""
    lines = []
    for row in rows:
        quoted = ["", "", ""]
        if row["quoted"] is not None:
            ratio, goal = row["instructions"] / row["quoted"], row["goal"]
            good = round(ratio, 2) <= goal
            quoted = [f"{row['quoted']:,}", _judged(f"{ratio:.2f}", good), f"{goal:.2f}"]
            if not good:
                misses.append(
                    f"{row['network']} on {row['target']}: instructions {ratio:.2f}, goal {goal:.2f}"
                )
        here = row["cmsis_instructions"]
        lines.append(
            [
                row["target"],
                row["network"],
                f"{row['macs']:,}",
                f"{row['instructions']:,}",
                *quoted,
                "" if here is None else f"{here:,}",
                "" if here is None else f"{row['instructions'] / here:.2f}",
            ]
        )
    head = ["target", "network", "MACs", "instructions", "quoted", "ratio", "goal", "CMSIS-NN here", "ratio"]
    return "## Instructions\n\n" + _table(head, lines, 2)


def _cycles(rows: Sequence[Row], misses: list[str]) -> str:
    lines = []
    for row in rows:
        ours, theirs = row["cycles"], row["cmsis_cycles"]
        if ours is None or theirs is None:
            continue
        ratio = ours / theirs
        good = row["target"] != "cortex-m4" or round(ratio, 2) <= CYCLE_GOAL
        if not good:
            misses.append(f"{row['network']} on cortex-m4: estimated cycles {ratio:.2f}, goal {CYCLE_GOAL}")
        lines.append(
            [row["target"], row["network"], f"{ours:,}", f"{theirs:,}", _judged(f"{ratio:.2f}", good)]
        )
    if not lines:
        return ""
    head = ["target", "network", "cycles", "CMSIS-NN here", "ratio"]
    return f"## Estimated cycles\n\nThe goal is {CYCLE_GOAL} on the M4.\n\n" + _table(head, lines, 2)


def _boards(rows: Mapping[tuple[str, str], Row]) -> str:
    """What others measured on boards, in cycles, and our estimates beside them."""
    cores = dict.fromkeys(each.core for each in mlperf_tiny.SUBMISSIONS)
    ours = {
        core: [rows.get((network, core), {}).get("cycles") for network in mlperf_tiny.NETWORKS]
        for core in cores
    }
    if all(cycles is None for each in ours.values() for cycles in each):
        return ""
    lines = []
    for core in cores:
        if any(cycles is not None for cycles in ours[core]):
            texts = ["" if cycles is None else f"{cycles / 1e6:.2f}" for cycles in ours[core]]
            lines.append([core, "", "dfqgen, estimated without wait states", "", *texts])
        for each in (each for each in mlperf_tiny.SUBMISSIONS if each.core == core):
            texts = [f"{cycles / 1e6:.2f}" for cycles in each.cycles]
            lines.append([core, each.board, each.software, each.round, *texts])
    head = ["core", "board", "software", "round", *mlperf_tiny.NETWORKS]
    return (
        "## Beside measured boards\n\n"
        "Millions of cycles an inference: the clock over the median throughput that submitters of MLPerf\n"
        "Tiny published (closed division, results/*/performance/results.txt in mlcommons/tiny_results_v1.1,\n"
        "v1.2 and v1.3). Theirs are measured, with the flash's wait states and what caches hide of them;\n"
        "ours are estimates for memory that never waits: this says where we are, not by how much we lead.\n"
        "Ours compute the dead channels of vww01, which others may have taken out.\n\n"
        + _table(head, lines, 4)
    )


def _dual_issue(rows: Mapping[tuple[str, str], Row]) -> str:
    """The M7's estimates over the M4's, beside what boards took with the same software."""
    lines = []
    for place, network in enumerate(mlperf_tiny.NETWORKS):
        large, small = rows.get((network, "cortex-m7")), rows.get((network, "cortex-m4"))
        if large is None or small is None or None in (large["cycles"], small["cycles"]):
            return ""
        theirs = [row["cmsis_cycles"] for row in (large, small)]
        boards = [pair[0].cycles[place] / pair[1].cycles[place] for pair in mlperf_tiny.PAIRS]
        ours = large["cycles"] / small["cycles"]
        mean = sum(boards) / len(boards)
        lines.append(
            [
                network,
                f"{large['cycles'] / large['instructions']:.2f}",
                f"{ours:.2f}",
                "" if None in theirs else f"{theirs[0] / theirs[1]:.2f}",
                *(f"{ratio:.2f}" for ratio in boards),
                f"{100 * (ours / mean - 1):+.0f} %",
            ]
        )
    head = ["network", "cycles an instruction", "dfqgen", "CMSIS-NN"]
    head += [f"{large.board}, {large.software}" for large, _ in mlperf_tiny.PAIRS]
    return (
        "## The Cortex-M7's cycles\n\n"
        "It issues two instructions at once, in order. Estimates schedule every block that ran by the\n"
        "units and latencies of LLVM's model of it (ARMScheduleM7.td), which Arm contributed: the manual\n"
        "has no cycles. Nobody ran this code on a board. What can be held against boards is how many of a\n"
        "Cortex-M4's cycles an M7 takes: as estimated for our code and CMSIS-NN's, and as published for\n"
        "the same software on an M7 and on a NUCLEO-L4R5ZI, caches and waits of both included. The last\n"
        "column is our ratio over the mean of the boards', which scatter themselves.\n\n"
        + _table([*head, "off"], lines)
    )


def _riscv(rows: Mapping[tuple[str, str], Row]) -> str:
    """RV32IMC beside the Cortex-M3, whose portable C it runs."""
    lines = []
    for network in NETWORKS:
        row, other = rows.get((network, "riscv32imc")), rows.get((network, "cortex-m3"))
        if row is None or other is None:
            continue
        each = [found["instructions"] / found["macs"] for found in (row, other)]
        lines.append([network, f"{row['instructions']:,}", *(f"{one:.2f}" for one in each)])
        lines[-1].append(f"{each[0] / each[1]:.2f}")
    if not lines:
        return ""
    head = ["network", "instructions", "a MAC", "a MAC, Cortex-M3", "ratio"]
    return (
        "## RISC-V\n\n"
        "The aim, no more instructions than the M3, is missed where a ratio is above 1. RV32IMC has no\n"
        "instruction that multiplies and adds, as the M3's MLA does: blocks of 2x4, which load six bytes\n"
        "for eight products, take 22 instructions in place of the M3's 14, in Winograd's algorithm of its\n"
        "13. Multiplications and additions alone are 16, so that no block, however large, gets below\n"
        "16 / 14 = 1.14 and 16 / 13 = 1.23 times the M3: the aim is out of reach while each product has a\n"
        "multiplication of its own. Loads are 0.75 a MAC; blocks of 2x8 would make them 0.63, of 4x4 0.5,\n"
        "which is 1.43 and 1.54 times the M3's loops. Two products in one multiplication,\n"
        "(w0 + 2^16 w1) x, fill the lower half after two: taken apart then, seven instructions for four\n"
        "products, they would be 1.75 a MAC and 0.5 for loads, with twice the flash. Neither is built.\n"
        "CMSIS-NN was not built for it.\n\n" + _table(head, lines)
    )


def _flags(results: Mapping[str, Any], rows: Mapping[tuple[str, str], Row]) -> str:
    """CMSIS-NN by its flags."""
    found = [row for key, row in sorted(results.items()) if key.startswith("flags/")]
    if not found:
        return ""
    flags = list(dict.fromkeys(row["flags"] for row in found))
    lines = []
    for target in TARGETS:
        for network in NETWORKS:
            counts = {
                row["flags"]: row["instructions"]
                for row in found
                if (row["target"], row["network"]) == (target, network)
            }
            if counts:
                best = min(counts.values())
                ours = rows.get((network, target))
                ratio = "" if ours is None else f"{ours['instructions'] / best:.2f}"
                cells = [f"{counts[each]:,}" if each in counts else "" for each in flags]
                lines.append([target, network, *cells, ratio])
    head = ["target", "network", *(f"`{each}`" for each in flags), "ours over the best"]
    return (
        "## CMSIS-NN's best flags\n\n"
        "Its instructions by the compiler's flags (`bench/cmsis_flags.py`). With\n"
        "CMSIS_NN_USE_SINGLE_ROUNDING it rounds once, as dfqgen does: the fairer twin, though not what\n"
        "TFLite Micro computes.\n\n" + _table(head, lines, 2)
    )


def _layers(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    lines = []
    for row in rows:
        ours, theirs, quoted = row["instructions"], row["cmsis_instructions"], row["quoted_per_unit"]
        cycles = (row["cycles"], row["cmsis_cycles"])
        lines.append(
            [
                row["target"],
                row["layer"],
                f"{ours / row['units']:.3f}",
                "" if quoted is None else f"{quoted:g}",
                "" if theirs is None else f"{theirs / row['units']:.3f}",
                "" if theirs is None else f"{ours / theirs:.2f}",
                "" if None in cycles else f"{cycles[0] / cycles[1]:.2f}",
            ]
        )
    head = [
        "target",
        "layer",
        "instructions per MAC",
        "quoted",
        "CMSIS-NN here",
        "ratio",
        "ratio of est. cycles",
    ]
    text = "Instructions per MAC, or per element of the sum."
    return f"## Single layers\n\n{text}\n\n" + _table(head, lines, 2)


def _sizes(rows: Sequence[Row], misses: list[str]) -> str:
    lines = []
    for row in rows:
        flash, arena = row["text_bytes"] + row["rodata_bytes"], row["arena_bytes"]
        flash_good, arena_good = flash <= row["flash_goal_bytes"], arena <= row["arena_goal_bytes"]
        where = f"{row['network']} on {row['target']}"
        if not flash_good:
            misses.append(f"{where}: flash {flash:,} bytes, goal {row['flash_goal_bytes']:,}")
        if not arena_good:
            misses.append(f"{where}: arena {arena:,} bytes, goal {row['arena_goal_bytes']:,}")
        lines.append(
            [
                row["target"],
                row["network"],
                f"{row['text_bytes']:,}",
                f"{row['rodata_bytes']:,}",
                _judged(f"{flash:,}", flash_good),
                f"{row['flash_goal_bytes']:,}",
                _judged(f"{arena:,}", arena_good),
                f"{row['arena_goal_bytes']:,}",
                f"{row['stack_bytes']:,}",
            ]
        )
    if not lines:
        return ""
    head = ["target", "network", "code", "constants", "flash", "goal", "arena", "goal", "stack"]
    text = (
        "Bytes, made with `--optimize speed`. Constants are weights, biases and factors. The goal of flash\n"
        "is 1.15 times the int8 weights of the network as it is given, dead channels included, and 12 KB;\n"
        "the arena has all activations and scratch; the stack is the deepest seen, the self-test's included."
    )
    return f"## Flash and RAM\n\n{text}\n\n" + _table(head, lines, 2)


def _spent(results: Mapping[str, Any], networks: Mapping[tuple[str, str], Row]) -> str:
    """What Winograd's algorithm costs and saves."""
    lines = []
    for target in TARGETS:
        for network in NETWORKS:
            spare = results.get(f"network/{target}/{network}{SPARING}")
            row = networks.get((network, target))
            if spare is None or row is None:
                continue
            flash, spare_flash = (each["text_bytes"] + each["rodata_bytes"] for each in (row, spare))
            cells = [row["instructions"], spare["instructions"], flash, spare_flash]
            cells += [row["arena_bytes"], spare["arena_bytes"]]
            ratio = f"{row['instructions'] / spare['instructions']:.2f}"
            texts = [f"{cell:,}" for cell in cells]
            lines.append([target, network, *texts[:2], ratio, *texts[2:]])
    if not lines:
        return ""
    head = ["target", "network", "instructions", "without", "ratio", "flash", "without", "arena", "without"]
    return (
        "## What Winograd's algorithm costs\n\n"
        "Beside the same with `--winograd off`, bytes and instructions. Other networks have no 3x3\n"
        "convolution of stride 1 over whole words of channels. The goal of flash above is that of weights\n"
        "as they are.\n\n" + _table(head, lines, 2)
    )


def _estimates(rows: Sequence[Row], misses: list[str]) -> str:
    """Of all networks that were counted; those with other goals have their estimates only here."""
    if not rows:
        return ""
    names = [*NETWORKS, *sorted({row["network"] for row in rows} - {*NETWORKS})]
    names = [name for name in names if any(row["network"] == name for row in rows)]
    cells: dict[str, dict[str, str]] = {}
    for row in rows:
        error = row["estimate"] / row["instructions"] - 1.0
        good = abs(error) <= ESTIMATE_GOAL
        if not good:
            misses.append(f"{row['network']} on {row['target']}: estimate {100 * error:+.1f} %, goal 15 %")
        cells.setdefault(row["target"], {})[row["network"]] = _judged(f"{100 * error:+.1f} %", good)
    lines = [[target, *(found.get(name, "") for name in names)] for target, found in cells.items()]
    text = (
        "`dfqgen inspect MODEL --target TARGET` estimates instructions before anything is built, from the\n"
        "prices in `targets/costs/` (bench/cost_table.py). Error of the total against the count; the goal\n"
        "is 15 %."
    )
    return f"## Estimates before building\n\n{text}\n\n" + _table(["target", *names], lines)


def _small(rows: Sequence[Row], fast: Mapping[tuple[str, str], Row]) -> str:
    lines = []
    for row in rows:
        other = fast.get((row["network"], row["target"]))
        if other is None:
            continue
        lines.append(
            [
                row["target"],
                row["network"],
                f"{row['text_bytes']:,}",
                f"{other['text_bytes']:,}",
                f"{row['rodata_bytes']:,}",
                f"{other['rodata_bytes']:,}",
                f"{row['instructions'] / other['instructions']:.2f}",
            ]
        )
    if not lines:
        return ""
    head = [
        "target",
        "network",
        "code, size",
        "code, speed",
        "constants, size",
        "constants, speed",
        "instructions",
    ]
    text = "Bytes, and the instructions of `--optimize size` as a multiple of `--optimize speed`."
    return f"## Made for size\n\n{text}\n\n" + _table(head, lines, 2)


def _host(milliseconds: float | None, misses: list[str]) -> str:
    if milliseconds is None:
        return ""
    if milliseconds >= HOST_GOAL_MS:
        misses.append(f"mobilenetv1_075 on the host: {milliseconds} ms, goal {HOST_GOAL_MS:.0f} ms")
    return (
        "## On the host\n\n"
        "MobileNetV1 0.75 at 224x224 (for `dfqgen eval`), the generated C at -O2 -march=native on one core\n"
        f"of an x86-64 machine, best of ten images: {milliseconds} ms; the goal is {HOST_GOAL_MS:.0f} ms."
    )
