"""The check that every build gets: its C, compiled for this machine, against the interpreter."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dfqgen.errors import ToolMissing
from dfqgen.fixedpoint.program import Program
from dfqgen.progress import Progress, silent
from dfqgen.verify.host import HostNetwork, HostReport, verify_on_host
from dfqgen.verify.toolchain import host_compiler, run_program


@dataclass(frozen=True, slots=True, eq=False)
class HostCheck:
    """What was found: every bit is equal. Without a C compiler nothing is, and `warning` says so."""

    network: HostNetwork | None
    report: HostReport
    compiler: str | None
    warning: str | None = None

    @property
    def summary(self) -> str:
        """In words."""
        if self.network is None:
            return "not checked: no C compiler"
        return f"equal, every bit, on {len(self.report.inputs)} inputs ({self.compiler})"


def check_on_host(program: Program, folder: Path, progress: Progress = silent) -> HostCheck:
    """Compile the folder's C and compare it with the interpreter bit for bit.

    Raises VerificationFailed where a bit differs.
    """
    progress("compiling the C for this machine")
    try:
        compiler = compiler_name()
        network = HostNetwork(folder)
    except ToolMissing as error:
        return HostCheck(None, HostReport((), 0), None, str(error))
    progress("checking the C against the reference")
    return HostCheck(network, verify_on_host(program, folder, network=network), compiler)


def compiler_name() -> str:
    """The host compiler and its version. Raises ToolMissing."""
    command = host_compiler()
    result = run_program([*command, "--version"], timeout_s=60.0)
    return (result.stdout.splitlines() or [command[0]])[0].strip()
