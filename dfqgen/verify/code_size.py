"""How much flash the target's compiler makes of a network's code."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path

from dfqgen.emit.package import MANIFEST, Files, write_files
from dfqgen.errors import ToolMissing
from dfqgen.targets import Target
from dfqgen.verify.toolchain import CompilationFailed, compile_c, run_program


def code_bytes(files: Files, target: Target, optimize: str) -> int | None:
    """Bytes of flash that the network's code takes, constants not counted.

    None for the host, and where the target's compiler is not installed.
    """
    if target.is_host:
        return None
    network = json.loads(files[MANIFEST])["network"]
    compiler = target.compiler
    size_command = compiler.command.removesuffix("gcc") + "size"
    with tempfile.TemporaryDirectory(prefix="dfqgen-") as scratch:
        folder = Path(scratch)
        write_files(files, folder)
        output = folder / "network.o"
        flags = ["-std=c99", "-c", *compiler.flags_for(optimize)]
        try:
            compile_c([folder / f"{network}.c"], output, flags, (compiler.command,))
            result = run_program([size_command, str(output)])
        except (ToolMissing, OSError):
            return None
    numbers = re.search(r"^\s*(\d+)\s+(\d+)\s", result.stdout, re.MULTILINE)  # text, data
    if numbers is None:
        raise CompilationFailed(f"{size_command} cannot read what {compiler.command} made")
    return int(numbers[1]) + int(numbers[2])
