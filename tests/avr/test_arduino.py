"""The Arduino package, built by Arduino's own builder with Debian's AVR core, and run."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from dfqgen import build, make_recipe
from tests.avr.board import printed_by
from tests.models import DIGITS
from tests.tools import needs

SHARE = Path("/usr/share")
BUILDER = (
    "arduino-builder", "-hardware", SHARE / "arduino/hardware", "-hardware", SHARE / "arduino-builder",
    "-tools", SHARE / "arduino-builder", "-fqbn", "arduino:avr:mega:cpu=atmega2560",
    # Debian's core is newer than its avr-libc
    "-prefs=compiler.cpp.extra_flags=-DDECIMAL_DIG=__DECIMAL_DIG__",
)  # fmt: skip


@needs("avr-gcc", "simavr", "arduino-builder", "arduino-ctags")
def test_the_sketch_of_the_library_passes_its_self_test(tmp_path: Path) -> None:
    build(DIGITS, tmp_path / "o", make_recipe(target="cortex-m0plus", package=("arduino",)))
    libraries, made = tmp_path / "libraries", tmp_path / "made"
    shutil.copytree(tmp_path / "o" / "packages" / "arduino", libraries)
    made.mkdir()
    sketch = libraries / "digits" / "examples" / "selftest" / "selftest.ino"
    words = [*BUILDER, "-libraries", libraries, "-build-path", made, "-compile", sketch]
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "every bit is right" in printed_by(made / "selftest.ino.elf", "atmega2560", seconds=20)
