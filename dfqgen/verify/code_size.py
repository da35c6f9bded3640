"""How much flash and stack the target's compiler makes of a network's code."""

from __future__ import annotations

import json
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from dfqgen.emit.package import MANIFEST, Files, write_files
from dfqgen.errors import ToolMissing
from dfqgen.targets import Target
from dfqgen.verify.stack import FLAG, deepest_bytes, pushed_bytes, read_call_graph
from dfqgen.verify.toolchain import CompilationFailed, compile_c, run_program


@dataclass(frozen=True, slots=True)
class CodeSize:
    """Bytes of flash that the network's code takes, without constants, and of stack that an inference needs
    at most, None where the compiler does not tell.
    """

    code_bytes: int
    stack_bytes: int | None


def measure_code(files: Files, target: Target, optimize: str) -> CodeSize | None:
    """What the target's compiler makes of the network. None for the host, and where it is not installed."""
    if target.is_host:
        return None
    network = json.loads(files[MANIFEST])["network"]
    command = target.compiler.command
    with tempfile.TemporaryDirectory(prefix="dfqgen-") as scratch:
        folder = Path(scratch)
        write_files(files, folder)
        output = folder / "network.o"
        flags = ["-std=c99", "-c", *target.compiler.flags_for(optimize), FLAG]
        try:
            compile_c([folder / f"{network}.c"], output, flags, (command,))
            sizes = run_program([beside(command, "size"), str(output)]).stdout
            code = run_program([beside(command, "objdump"), "-d", "--no-show-raw-insn", str(output)]).stdout
        except (ToolMissing, OSError):
            return None
        calls = output.with_suffix(".ci")
        text = calls.read_text("utf-8", "replace") if calls.is_file() else ""
    numbers = re.search(r"^\s*(\d+)\s+(\d+)\s", sizes, re.MULTILINE)  # text, data
    if numbers is None:
        raise CompilationFailed(f"{beside(command, 'size')} cannot read what {command} made")
    graph = read_call_graph(text, pushed_bytes(code.splitlines()))
    invoke = f"{network}_invoke"
    stack = deepest_bytes(graph, invoke) if invoke in graph.stack_bytes else None
    return CodeSize(int(numbers[1]) + int(numbers[2]), stack)


def beside(compiler: str, tool: str) -> str:
    """A program that comes with a compiler."""
    return compiler.removesuffix("gcc") + tool
