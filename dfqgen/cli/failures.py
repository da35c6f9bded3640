"""How a command ends that did not do what it was asked: one paragraph and an exit code, never a traceback.

1 verification failed; 2 something the user can put right; 70 a fault of dfqgen, as in BSD's sysexits; 130
interrupted.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import importlib.metadata
import platform
import shlex
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import typer
from rich.console import Console

from dfqgen.cli import output as show
from dfqgen.errors import DfqgenError, InternalError

INTERNAL = 70
INTERRUPTED = 130
OUT_OF_MEMORY = "this machine has too little memory for that"

_TYPERS_OWN = (typer.Exit, typer.Abort, typer.BadParameter)
_LIBRARIES = ("numpy", "scipy", "onnx", "onnxruntime", "protobuf", "typer", "jinja2", "cffi")
_LARGEST_HASHED_BYTES = 1 << 28


@contextlib.contextmanager
def reporting(
    as_json: bool = False, interrupted: Callable[[], str] = lambda: "interrupted"
) -> Iterator[None]:
    """Whatever is raised becomes one paragraph and an exit code; with `as_json` an object too.

    `interrupted` says what an end by Ctrl-C leaves behind.
    """
    try:
        yield
    except _TYPERS_OWN:
        raise
    except KeyboardInterrupt:
        _end(interrupted(), INTERRUPTED, as_json)
    except MemoryError:
        _end(OUT_OF_MEMORY, DfqgenError.exit_code, as_json)
    except InternalError as error:
        _end(_internal(error), INTERNAL, as_json)
    except DfqgenError as error:
        _end(str(error), error.exit_code, as_json)
    except OSError as error:
        if error.errno is None:  # a library's, not the system's
            _end(_internal(error), INTERNAL, as_json)
        if error.errno == errno.EPIPE:
            raise
        _end(_system_message(error), DfqgenError.exit_code, as_json)
    except Exception as error:
        _end(_internal(error), INTERNAL, as_json)


def stop_politely() -> None:
    """Let a request to end (SIGTERM) be as Ctrl-C is, so that compilers stop and temporary files go."""
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


def _end(message: str, exit_code: int, as_json: bool) -> None:
    if as_json:
        show.print_json({"error": message, "exit_code": exit_code})
    show.print_error(message, Console(stderr=True, highlight=False))
    raise typer.Exit(exit_code) from None


def _system_message(error: OSError) -> str:
    where = "" if error.filename is None else f"{error.filename}: "
    if error.errno == errno.ENOENT and error.filename is None:  # tempfile's
        return str(error.strerror)
    return f"{where}{error.strerror}"


def _internal(error: Exception) -> str:
    """Write what is needed to find the fault again; in words where it is."""
    lines = traceback.extract_tb(error.__traceback__)
    own = [line for line in lines if "dfqgen" in Path(line.filename).parts] or lines
    place = f" in {Path(own[-1].filename).name}, line {own[-1].lineno}" if own else ""
    what = f"this is a fault of dfqgen, not yours: {type(error).__name__}{place}"
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="dfqgen-fault-", suffix=".txt", delete=False, encoding="utf-8", errors="replace"
        ) as file:
            file.write(reproduction(error))
    except OSError as failure:
        return f"{what}\nNo file with the details could be written: {_system_message(failure)}"
    return (
        f"{what}\nPlease report it with {file.name}, which has the command, versions and where it happened, "
        "and with the model if you may share it."
    )


def reproduction(error: Exception) -> str:
    """The command, the files it names, versions, and the traceback."""
    arguments = sys.argv[1:]
    libraries = ", ".join(f"{name} {_version(name)}" for name in _LIBRARIES)
    parts = [
        f"dfqgen {_version('dfqgen')}, Python {platform.python_version()}, {platform.platform()}",
        libraries,
        f"dfqgen {shlex.join(arguments)}",
        *(_file_line(Path(argument)) for argument in arguments if _is_file(argument)),
        "",
        *traceback.format_exception(error),
    ]
    return "\n".join(parts)


def _is_file(argument: str) -> bool:
    try:
        return Path(argument).is_file()
    except (OSError, ValueError):
        return False


def _file_line(path: Path) -> str:
    size = path.stat().st_size
    if size > _LARGEST_HASHED_BYTES:
        return f"{path}: {size:,} bytes"
    return f"{path}: {size:,} bytes, sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "?"
