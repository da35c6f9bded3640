"""The C compiler of this machine."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from dfqgen.errors import ToolMissing, VerificationFailed

WARNINGS = ("-std=c99", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Werror")


TIMEOUT_S = 600.0
"""For a compiler or any other program."""


class CompilationFailed(VerificationFailed):
    """The compiler refused generated C: a bug of dfqgen, or a broken compiler."""


def host_compiler() -> tuple[str, ...]:
    """The command of the host's C compiler: $CC, cc, gcc, clang or zig, last the one that Python's package
    ziglang brings. Raises ToolMissing.
    """
    chosen = shlex.split(os.environ.get("CC", ""), posix=sys.platform != "win32")
    if chosen:
        if shutil.which(chosen[0]) is None:
            raise ToolMissing(f"$CC names {chosen[0]}, which is not installed", "Unset CC or install it.")
        return tuple(chosen)
    for name in ("cc", "gcc", "clang"):
        if shutil.which(name) is not None:
            return (name,)
    if shutil.which("zig") is not None:
        return ("zig", "cc")
    if importlib.util.find_spec("ziglang") is not None:
        return (sys.executable, "-m", "ziglang", "cc")
    raise ToolMissing(
        "there is no C compiler on this machine, so the generated C cannot be checked",
        "Install one: 'pip install dfqgen[cc]' anywhere, 'apt install gcc' (Debian, Ubuntu), "
        "'dnf install gcc' (Fedora), 'xcode-select --install' (macOS); or name yours in the CC variable.",
    )


def run_program(
    arguments: Sequence[str], *, timeout_s: float = TIMEOUT_S, merge_errors: bool = False
) -> subprocess.CompletedProcess[str]:
    """A program that has no standard input and ends, with all it started, within `timeout_s`.

    `merge_errors` gives its standard error with its standard output. Raises OSError where it does not start,
    VerificationFailed where it does not end.
    """
    with subprocess.Popen(
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if merge_errors else subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            output, errors = process.communicate(timeout=timeout_s)
        except BaseException as error:  # Ctrl-C too: compilers have children of their own
            _kill_tree(process)
            if isinstance(error, subprocess.TimeoutExpired):
                raise VerificationFailed(
                    f"{Path(arguments[0]).name} did not end within {timeout_s:g} s"
                ) from None
            raise
    return subprocess.CompletedProcess(arguments, process.returncode, output, errors or "")


def _kill_tree(process: subprocess.Popen[str]) -> None:
    """End a program and all it started."""
    if sys.platform == "win32":
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(process.pid)], capture_output=True, check=False)
    else:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def compile_shared(sources: Sequence[Path], folder: Path, name: str, flags: Sequence[str]) -> Path:
    """Compile `sources` into a library in `folder` that this process can load. Raises as `compile_c`."""
    library = folder / f"{name}{SHARED.get(sys.platform, '.so')}"
    compile_c(sources, library, ["-shared", *([] if sys.platform == "win32" else ["-fPIC"]), *flags])
    return library


SHARED = {"win32": ".dll", "darwin": ".dylib"}
"""What a library's name ends in, where it is not .so."""


def compile_c(
    sources: Sequence[Path], output: Path, flags: Sequence[str], command: Sequence[str] | None = None
) -> None:
    """Compile and link `sources` into `output` with the host's compiler. Raises CompilationFailed."""
    compiler = tuple(command) if command is not None else host_compiler()
    arguments = [*compiler, *flags, *(str(source) for source in sources), "-o", str(output)]
    try:
        result = run_program(arguments)
    except OSError as error:
        raise ToolMissing(f"cannot start {compiler[0]}: {error.strerror}") from error
    if result.returncode:
        raise CompilationFailed(f"{shlex.join(arguments)} failed:\n{result.stderr[-4000:]}")
    if not output.is_file():
        raise CompilationFailed(f"{shlex.join(arguments)} says that all is well, and writes nothing")
