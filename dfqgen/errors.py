"""The errors a user can meet. The command line prints them without a traceback.

`UserError` and its kinds end with exit code 2, `VerificationFailed` with 1, `InternalError` with 70.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


class DfqgenError(Exception):
    """Base of everything dfqgen raises on purpose."""

    exit_code = 2


class UserError(DfqgenError):
    """Something about the input, the options or the machine that the user can put right.

    `hint` says what to do; it is printed under the message.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class ModelFileError(UserError):
    """The file is not an ONNX model dfqgen can read safely."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One reason a model is refused: which operator, at which node, and what to do about it."""

    operator: str
    node: str
    advice: str


class UnsupportedModel(UserError):
    """The model is valid ONNX but asks for something dfqgen cannot do. Lists every problem at once."""

    def __init__(self, message: str, problems: tuple[Problem, ...] = (), hint: str = "") -> None:
        super().__init__(message, hint)
        self.problems = problems

    def __str__(self) -> str:
        lines = [self.message]
        lines += [f"  {p.operator:<20} node {p.node!r}: {p.advice}" for p in self.problems]
        if self.hint:
            lines.append(self.hint)
        return "\n".join(lines)


class BudgetExceeded(UserError):
    """The network does not fit the target's flash or RAM, or takes too long.

    `excess` has what is too much, "flash" and "ram" in bytes and "time" in seconds.
    """

    def __init__(self, message: str, hint: str = "", excess: Mapping[str, float] | None = None) -> None:
        super().__init__(message, hint)
        self.excess = dict(excess or {})


class ToolMissing(UserError):
    """A compiler or emulator that the command needs is not installed."""


class InternalError(DfqgenError):
    """A rule that dfqgen's own parts keep among themselves is broken."""

    exit_code = 70


class GraphError(InternalError):
    """A float graph is not well-formed: a bug in an importer or a pass."""


class ProgramError(InternalError):
    """A fixed-point program breaks a rule of the IR (a bug, or an accumulator that could overflow)."""


class VerificationFailed(DfqgenError):
    """The generated C and the integer reference differ, or an output is farther from float than allowed."""

    exit_code = 1
