"""Coverage-guided fuzzing of the reader of models with Atheris (libFuzzer), in the manner of OSS-Fuzz.

    pip install atheris
    python -m tests.fuzz.parser -max_total_time=3600 FOLDER

FOLDER is the corpus, filled from the small models when it is empty. An exception that is no UserError stops
it, and libFuzzer writes the file. Atheris is no dependency: it exists for few versions of Python.
"""

from __future__ import annotations

import contextlib
import hashlib
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["dfqgen"]):
    from dfqgen.errors import UserError
    from dfqgen.frontend import load

from tests.fuzz.seeds import small_seeds


def one_input(data: bytes) -> None:
    """Read one file."""
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        file.write(data)
        file.flush()
        with contextlib.suppress(UserError):
            load(Path(file.name))


def main() -> None:
    folders = [Path(argument) for argument in sys.argv[1:] if not argument.startswith("-")]
    for folder in folders[:1]:
        folder.mkdir(parents=True, exist_ok=True)
        for seed in [] if any(folder.iterdir()) else small_seeds():
            (folder / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
