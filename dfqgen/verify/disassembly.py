"""What GNU's objdump says of a firmware, instruction by instruction."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dfqgen.targets import Target
from dfqgen.verify.firmware import binutil, run_tool


@dataclass(frozen=True, slots=True)
class Instruction:
    """A line of disassembly.

    `pipelined`: the one before it is a load of one register that this one does not use in its address.
    """

    mnemonic: str
    operands: str
    function: str
    pipelined: bool


def disassemble(elf: Path, target: Target) -> dict[int, Instruction]:
    """Every instruction of an ELF file by address."""
    text = run_tool(binutil(target, "objdump"), ["-d", "--no-show-raw-insn", str(elf)], "cannot disassemble")
    return parse_disassembly(text.splitlines())


def parse_disassembly(lines: Iterable[str]) -> dict[int, Instruction]:
    """objdump's lines: "<address> <function>:" and "address:<tab>mnemonic<tab>operands"."""
    code: dict[int, Instruction] = {}
    function = ""
    loaded = ""  # the register that the line before loads, if it is a single load
    for line in lines:
        if header := re.fullmatch(r"[0-9a-f]+ <(.+)>:", line):
            function, loaded = header[1], ""
        elif match := re.match(r"\s*([0-9a-f]+):\t(\S+)\s*(.*)", line):
            mnemonic, operands = re.sub(r"\.[nw]$", "", match[2]), match[3]
            register, _, address = operands.partition(", ")
            pipelined = bool(loaded) and not re.search(rf"\b{loaded}\b", address)
            code[int(match[1], 16)] = Instruction(mnemonic, operands, function, pipelined)
            loaded = register if mnemonic.startswith("ldr") and not mnemonic.startswith("ldrd") else ""
    return code


def registers_listed(operands: str) -> list[str]:
    """Names in a list of registers such as {r4-r7, lr} or {d8-d11}."""
    listed = re.search(r"\{(.*)\}", operands)
    names: list[str] = []
    for part in listed[1].split(",") if listed else ():
        first, _, last = part.strip().partition("-")
        if last:
            names += [f"{first[0]}{number}" for number in range(int(first[1:]), int(last[1:]) + 1)]
        else:
            names.append(first)
    return names


def words_listed(operands: str) -> int:
    """Words in such a list; a d register is two."""
    return sum(2 if name.startswith("d") else 1 for name in registers_listed(operands))
