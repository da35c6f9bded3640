"""How a command ends that did not do what it was asked: one paragraph and an exit code, never a traceback.

1 verification failed; 2 something the user can put right; 70 a fault of dfqgen, as in BSD's sysexits; 130
interrupted.
"""

from __future__ import annotations

import contextlib
import errno
import signal
from collections.abc import Callable, Iterator

import typer
from rich.console import Console

from dfqgen.cli import output as show
from dfqgen.errors import DfqgenError, InternalError

INTERNAL = 70
INTERRUPTED = 130
OUT_OF_MEMORY = "this machine has too little memory for that"

_TYPERS_OWN = (typer.Exit, typer.Abort, typer.BadParameter)


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
    from dfqgen.cli.fault import record_fault  # hashes, versions and tracebacks take 30 ms to import

    return record_fault(error)
