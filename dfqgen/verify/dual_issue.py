"""Cycles of a core that issues two instructions at once and in order: the Cortex-M7.

The manual has no cycles. Units, latencies and the stage at which an operand is read are those of the model
that Arm gave LLVM (llvm/lib/Target/ARM/ARMScheduleM7.td): two ALUs, two ports for loads, one each for stores,
multiplications, shifters, DSP operations, branches and floats. Blocks that ran equally often are scheduled by
it, a block that jumps to its own beginning as it goes round, others from an empty pipeline. Memory never
waits. A branch is foretold right as often as by always saying what it does most; returns are foretold wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from dfqgen.targets import DualIssueModel
from dfqgen.verify.disassembly import Instruction, registers_listed

SLOTS = 2
UNITS = {"alu": 2, "load": 2, "store": 1, "multiply": 1, "shift": 1, "dsp": 1, "branch": 1, "float": 1}
"""How many of each kind start in a cycle."""
ADDRESS_EARLY = 1
"""Cycles before an ALU's operands that addresses and what is shifted must be there."""
LATE = 1
"""Cycles after them that an accumulator, or what is stored, may still come."""

_REGISTER = re.compile(r"\b(?:r\d+|sl|fp|ip|sp|lr|s\d+|d\d+)\b")
_CONDITIONS = "eq|ne|cs|cc|mi|pl|vs|vc|hi|ls|ge|lt|gt|le|hs|lo"
_UNCONDITIONAL = frozenset({"adcs", "bics", "lsls", "mls", "movs", "muls", "sbcs", "teq"})
"""End as if there were a condition."""
_BRANCH = re.compile(rf"(b(l|x|lx)?({_CONDITIONS})?|cbn?z|tb[bh])")
_DSP = re.compile(
    r"[su]xt[bh]|[su]h?(add|sub)(8|16)|[su]h?(asx|sax)|sel|u?q(add|sub|asx|sax)|usada?8|rev|rbit"
)
_DSP_SHIFTED = re.compile(r"[su]sat|qd(add|sub)|[su]bfx|pkh|[su]xta|rev|rbit")
_MULTIPLY = re.compile(r"(mul|ml[as]|sm|um)(?!sr)")
_NO_RESULT = re.compile(r"cmp|cmn|tst|teq|str|stm|push|vstr|vstm|vpush|it|nop|b|cb")
_COPIES = re.compile(r"mov|mvn|[su]xt|rev|rbit|clz|ldr|rsb|neg|adr")


@dataclass(frozen=True, slots=True)
class Need:
    """A register, and how many cycles before (or, below 0, after) an ALU reads its operands."""

    register: str
    early: int


@dataclass(frozen=True)
class Step:
    """An instruction as the pipeline sees it. `alone`: nothing is issued beside it, for `cycles`."""

    units: tuple[str, ...]
    needs: tuple[Need, ...]
    results: Mapping[str, int] = field(default_factory=dict)
    first: bool = False
    alone: bool = False
    cycles: int = 1

    @cached_property
    def ends(self) -> bool:
        return self.alone or "branch" in self.units


def dual_issue_cycles(
    runs: Mapping[int, int],
    jumps: Mapping[int, int],
    code: Mapping[int, Instruction],
    model: DualIssueModel,
) -> int:
    """Cycles of the instructions in `runs`, by address, whose `jumps` went elsewhere than to the next."""
    total = 0
    for block in _blocks(runs, jumps, code):
        steps = [
            step_of(code[address], model) if address in code else Step(("alu",), ()) for address in block
        ]
        count, last = runs[block[0]], block[-1]
        taken = jumps.get(last, 0)
        once = schedule(steps)
        if 2 * taken > count and last in code and _goes_to(code[last], block[0]):
            total += once * (count - taken) + (schedule([*steps, *steps]) - once) * taken
        else:
            total += once * count
        returns = last in code and re.match(r"bx|pop|ldm|blx", code[last].mnemonic) is not None
        total += model.mispredict * (taken if returns else min(taken, count - taken))
    return total


def schedule(steps: Iterable[Step]) -> int:
    """Cycles of instructions in a row from an empty pipeline, until the next could start."""
    ready: dict[str, int] = {}
    used: dict[str, int] = {}
    now, filled = 0, 0
    for step in steps:
        start = max(
            [now, *(ready[need.register] + need.early for need in step.needs if need.register in ready)]
        )
        full = filled >= SLOTS or any(used.get(unit, 0) >= UNITS[unit] for unit in step.units)
        if start == now and filled and (full or step.first or step.alone):
            start = now + 1
        if start > now:
            now, filled, used = start, 0, {}
        for unit in step.units:
            used[unit] = used.get(unit, 0) + 1
        filled += 1
        for register, latency in step.results.items():
            ready[register] = now + latency
        if step.alone:
            now, filled, used = now + step.cycles, 0, {}
    return now + (1 if filled else 0)


def step_of(instruction: Instruction, model: DualIssueModel) -> Step:
    """What the model says of an instruction; what it has no class for is an ALU's."""
    name, operands = instruction.mnemonic, re.split(r"\s*[;@]", instruction.operands)[0]
    if re.match(r"(v?ldm|v?stm|v?push|v?pop|ldrd|strd)", name):
        return _several(name, operands, model)
    if re.match(r"v?(ldr|str)", name):
        return _single(name, operands, model)
    if _BRANCH.fullmatch(name):
        needs = tuple(Need(register, 0) for register in _REGISTER.findall(operands.split("<")[0]))
        return Step(("branch",), needs, {"lr": 1} if name.startswith("bl") else {})
    written, read = _operands(name, operands)
    if name.startswith("v"):
        return Step(("float",), tuple(Need(r, 0) for r in read), dict.fromkeys(written, model.float_latency))
    if re.match(r"[su]div", name):
        needs = tuple(Need(r, 0) for r in read)
        return Step(("alu",), needs, dict.fromkeys(written, 1), alone=True, cycles=model.divide)
    if _MULTIPLY.match(name):
        adds = re.match(r"ml[as]|smlal|umlal|smml[as]|sml[as]|umaal", name) is not None
        sums = written if re.match(r"[su]mlal|smlsl|umaal", name) else read[-1:] if adds else ()
        needs = tuple(Need(r, -LATE if r in sums else 0) for r in read)
        return Step(("multiply",), needs, dict.fromkeys(written, model.multiply_latency))
    shifted = re.search(r", (lsl|lsr|asr|ror|rrx)\b", operands) is not None
    if _DSP_SHIFTED.match(name) or _DSP.match(name):
        units = ("dsp", "alu", "shift") if _DSP_SHIFTED.match(name) else ("dsp", "alu")
        early = ADDRESS_EARLY if "shift" in units else 0
        latency = 2 if re.match(r"[su]sat|u?q|usad", name) else 1
        return Step(units, tuple(Need(r, early) for r in read), dict.fromkeys(written, latency), first=True)
    plain_shift = re.match(r"lsl|lsr|asr|ror|bf[ci]", name) is not None
    needs = tuple(Need(r, ADDRESS_EARLY if shifted and r == read[-1] else 0) for r in read)
    used = ("alu", "shift") if shifted or plain_shift else ("alu",)
    return Step(used, needs, dict.fromkeys(written, 1), first=name.startswith(("clz", "bfc", "bfi")))


def _single(name: str, operands: str, model: DualIssueModel) -> Step:
    """A load or store of one register."""
    register, _, address = operands.partition(", ")
    bases = _REGISTER.findall(address)
    needs = [Need(base, ADDRESS_EARLY) for base in bases]
    results = {bases[0]: 0} if bases and ("!" in address or "], " in address) else {}
    if "str" in name:
        return Step(("store",), (*needs, Need(register, -LATE)), results)
    narrow = re.match(r"ldrs?[bh]", name) is not None
    results[register] = model.narrow_load_latency if narrow else model.load_latency
    return Step(("load",), tuple(needs), results)


def _several(name: str, operands: str, model: DualIssueModel) -> Step:
    """A load or store of several: two registers a cycle, and nothing beside it."""
    before, _, after = operands.partition("{" if "{" in operands else "[")
    listed = registers_listed(operands) if after and "{" in operands else _REGISTER.findall(before)
    bases = _REGISTER.findall(before if "{" in operands else after) or ["sp"]
    cycles = max(1, (len(listed) + 1) // 2)
    loads = "ld" in name or "pop" in name
    results = {bases[0]: 1} if "!" in operands or "], " in operands or "p" in name else {}
    results |= dict.fromkeys(listed if loads else (), cycles - 1 + model.load_latency)
    needs = tuple(Need(base, ADDRESS_EARLY) for base in bases[:1])
    needs += () if loads else tuple(Need(register, -LATE) for register in listed)
    return Step(("load" if loads else "store",), needs, results, alone=True, cycles=cycles)


def _operands(name: str, operands: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Registers written, "flags" among them, and registers read."""
    found = _REGISTER.findall(operands.split("<")[0])
    flags = ("flags",) if re.match(r"cmp|cmn|tst|teq|(?!mls$)[a-z]+s$", name) else ()
    conditional = name not in _UNCONDITIONAL and re.search(rf"[a-z]({_CONDITIONS})$", name) is not None
    needs_flags = ("flags",) if conditional or re.match(r"adc|sbc", name) else ()
    if _NO_RESULT.match(name) and not re.match(r"bf|bic", name):
        return flags, (*found, *needs_flags)
    results = found[: 2 if re.match(r"[su]mull|[su]mlal|smlsld|umaal", name) else 1]
    read = found[len(results) :]
    # Of two operands the first is read too: "adds r0, #1". So is what only part of is written.
    if re.match(r"[su]mlal|smlsld|umaal|bf[ci]|movt|vmla|vfma", name) or (
        operands.count(",") < 2 and not _COPIES.match(name) and not name.startswith("v")
    ):
        read = [*results, *read]
    if conditional:
        read = [*results, *read]
    return (*results, *flags), (*read, *needs_flags)


def _blocks(
    runs: Mapping[int, int], jumps: Mapping[int, int], code: Mapping[int, Instruction]
) -> Iterator[Sequence[int]]:
    """Addresses in a row that ran equally often and end where something jumped."""
    following = dict(zip(order := sorted(code), order[1:], strict=False))
    block: list[int] = []
    for address in sorted(runs):
        if block and not (
            following.get(block[-1]) == address
            and runs[address] == runs[block[-1]]
            and not jumps.get(block[-1], 0)
        ):
            yield block
            block = []
        block.append(address)
    if block:
        yield block


def _goes_to(branch: Instruction, address: int) -> bool:
    found = re.search(r"\b([0-9a-f]+) <", branch.operands)
    return found is not None and int(found[1], 16) == address
