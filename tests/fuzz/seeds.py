"""The models that mutations start from: small ones of every operator, and real networks."""

from __future__ import annotations

import functools
import zipfile
from pathlib import Path

from tests.models import DIGITS, ROOT

CORPUS = Path(__file__).parent / "corpus.zip"
"""One or two of ONNX's own node tests for each operator that dfqgen has an importer for."""
SHARED = ROOT.parent / "shared" / "models"
LARGEST_SHARED_BYTES = 400_000
PER_OPERATOR = 3
EPOCH = (1980, 1, 1, 0, 0, 0)


@functools.cache
def small_seeds() -> tuple[bytes, ...]:
    with zipfile.ZipFile(CORPUS) as archive:
        return tuple(archive.read(name) for name in sorted(archive.namelist()))


@functools.cache
def real_seeds() -> tuple[bytes, ...]:
    """The bundled network, and released ones that lie beside the project."""
    found = sorted(SHARED.glob("*.onnx")) if SHARED.is_dir() else []
    shared = [path for path in found if path.stat().st_size < LARGEST_SHARED_BYTES]
    return tuple(path.read_bytes() for path in (DIGITS, *shared))


def write_corpus() -> None:
    """Make CORPUS again; the same onnx package gives the same bytes."""
    from tests.conformance.runner import all_cases

    by_operator: dict[str, list[tuple[str, bytes]]] = {}
    for case in all_cases():
        by_operator.setdefault(case.operator, []).append((case.name, case.model.SerializeToString()))
    with zipfile.ZipFile(CORPUS, "w", zipfile.ZIP_DEFLATED) as archive:
        for operator in sorted(by_operator):
            tests = sorted(by_operator[operator])
            for name, data in tests[:: max(1, len(tests) // PER_OPERATOR)][:PER_OPERATOR]:
                archive.writestr(zipfile.ZipInfo(f"{name}.onnx", EPOCH), data, zipfile.ZIP_DEFLATED)
