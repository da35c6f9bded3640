"""What this machine has for dfqgen: compilers, emulators, Python packages; and how to get the rest."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import subprocess
from dataclasses import dataclass

from dfqgen.errors import ToolMissing
from dfqgen.report.facts import Facts
from dfqgen.targets import list_targets
from dfqgen.verify.toolchain import host_compiler
from dfqgen.version import __version__

DEBIAN = {
    "arm-none-eabi-gcc": "gcc-arm-none-eabi libnewlib-arm-none-eabi",
    "avr-gcc": "gcc-avr avr-libc",
    "qemu-system-arm": "qemu-system-arm",
    "qemu-system-riscv32": "qemu-system-misc",
    "riscv64-unknown-elf-gcc": "gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf",
    "simavr": "simavr",
}
"""Packages of Debian and Ubuntu, by command."""

REQUIRED = ("numpy", "scipy", "onnx", "onnxruntime", "typer", "rich", "jinja2", "cffi")


@dataclass(frozen=True, slots=True)
class Extra:
    """A Python package that some commands need, and what brings it."""

    package: str
    purpose: str
    extra: str


EXTRAS = (
    Extra("torch", "synthetic samples and AdaRound", "synthesis"),
    Extra("pyserial", "dfqgen run on a board", "serial"),
    Extra("pillow", "folders of images as samples", "data"),
)


def doctor() -> Facts:
    """Tools and packages with their versions (None: not there), what each is for and how to install it.

    `ready` is whether this machine can compile and check C at all.
    """
    host = _host()
    return {
        "dfqgen": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "ready": host["version"] is not None,
        "tools": [host, *_target_tools()],
        "packages": [_package(name, "everything", "dfqgen") for name in REQUIRED]
        + [_package(extra.package, extra.purpose, f"'dfqgen[{extra.extra}]'") for extra in EXTRAS],
        "warnings": [],
    }


def _host() -> Facts:
    install = "pip install 'dfqgen[cc]', apt install gcc, or xcode-select --install; or name yours in $CC"
    try:
        command = host_compiler()
    except ToolMissing:
        return _tool("cc", "checking the C on this machine", None, install)
    return _tool(" ".join(command), "checking the C on this machine", _version(*command), install)


def _target_tools() -> list[Facts]:
    """Compilers and emulators that targets name, each once, with the targets that need it."""
    users: dict[str, list[str]] = {}
    purposes: dict[str, str] = {}
    for target in list_targets():
        if target.name == "host":
            continue
        users.setdefault(target.compiler.command, []).append(target.name)
        purposes[target.compiler.command] = "code size and firmware for"
        if target.emulator is not None:
            users.setdefault(target.emulator.command, []).append(target.name)
            purposes[target.emulator.command] = "dfqgen run and profile on"
    return [
        _tool(
            command,
            f"{purposes[command]} {', '.join(users[command])}",
            _version(command),
            f"apt install {DEBIAN[command]}" if command in DEBIAN else "",
        )
        for command in sorted(users, key=lambda command: (purposes[command], command))
    ]


def _tool(command: str, purpose: str, version: str | None, install: str) -> Facts:
    return {"name": command, "purpose": purpose, "version": version, "install": install}


def _package(name: str, purpose: str, requirement: str) -> Facts:
    try:
        version: str | None = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        version = None
    return _tool(name, purpose, version, f"pip install {requirement}")


def _version(*command: str) -> str | None:
    """The first line of what a command prints with --version; None where there is no such command."""
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(
            [*command, "--version"], capture_output=True, text=True, errors="replace", timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = (done.stdout or done.stderr).strip().splitlines()
    return lines[0] if lines else "there"
