"""The C compiler of this machine."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from dfqgen.errors import ToolMissing, VerificationFailed

WARNINGS = ("-std=c99", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Werror")


class CompilationFailed(VerificationFailed):
    """The compiler refused generated C: a bug of dfqgen, or a broken compiler."""


def host_compiler() -> tuple[str, ...]:
    """The command of the host's C compiler: $CC, cc, gcc or clang. Raises ToolMissing."""
    chosen = shlex.split(os.environ.get("CC", ""))
    if chosen:
        if shutil.which(chosen[0]) is None:
            raise ToolMissing(f"$CC names {chosen[0]}, which is not installed", "Unset CC or install it.")
        return tuple(chosen)
    for name in ("cc", "gcc", "clang"):
        if shutil.which(name) is not None:
            return (name,)
    raise ToolMissing(
        "there is no C compiler on this machine, so the generated C cannot be checked",
        "Install one: 'apt install gcc' (Debian, Ubuntu), 'dnf install gcc' (Fedora), "
        "'xcode-select --install' (macOS); or name yours in the CC environment variable.",
    )


def compile_c(
    sources: Sequence[Path], output: Path, flags: Sequence[str], command: Sequence[str] | None = None
) -> None:
    """Compile and link `sources` into `output` with the host's compiler. Raises CompilationFailed."""
    compiler = tuple(command) if command is not None else host_compiler()
    arguments = [*compiler, *flags, *(str(source) for source in sources), "-o", str(output)]
    try:
        result = subprocess.run(arguments, capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        raise ToolMissing(f"cannot start {compiler[0]}: {error.strerror}") from error
    if result.returncode:
        raise CompilationFailed(f"{shlex.join(arguments)} failed:\n{result.stderr[-4000:]}")
