"""Samples from .csv files: a row each, a column for each number of the input, and one of labels."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dfqgen.errors import UserError
from dfqgen.files import read_regular

Array = npt.NDArray[Any]


def read_table(
    path: Path, label: str | None = None, classes: Sequence[str] | None = None
) -> tuple[Array, Array | None]:
    """(x [N, columns] float32, y [N] or None) of a file whose first row names its columns.

    `label` is the column of labels: whole numbers, or the names of `classes`, else of all that occur, sorted.
    Raises UserError with the line.
    """
    try:
        rows = list(csv.reader(io.StringIO(read_regular(path).decode("utf-8-sig"), newline="")))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as a .csv file ({error})", "Save it as UTF-8.") from None
    head, body = [name.strip() for name in rows[0]] if rows else [], [row for row in rows[1:] if row]
    if not body:
        raise UserError(f"{path}: holds no samples", "It has a row of names, and a row for each sample.")
    if label is not None and head.count(label) != 1:
        raise UserError(
            f"{path}: has no single column {label!r}, only {', '.join(head)}", "See label = in the .toml."
        )
    place = None if label is None else head.index(label)
    numbers = []
    for line, row in enumerate(body, 2):
        try:
            if len(row) != len(head):
                raise ValueError(f"{len(row)} cells where the first row has {len(head)}")
            numbers.append([float(cell) for column, cell in enumerate(row) if column != place])
        except ValueError as error:
            hint = "Say with label = in a .toml which column holds labels." if label is None else ""
            raise UserError(f"{path}: row {line}: {error}", hint) from None
    x = np.asarray(numbers, np.float32)
    return x, None if place is None else _labels(path, [row[place].strip() for row in body], classes)


def _labels(path: Path, texts: Sequence[str], classes: Sequence[str] | None) -> Array:
    if classes is None and all(text.lstrip("-").isdigit() for text in texts):
        return np.asarray([int(text) for text in texts])
    order = {name: index for index, name in enumerate(classes or sorted(set(texts)))}
    if unknown := next((text for text in texts if text not in order), None):
        raise UserError(f"{path}: the label {unknown!r} is none of the classes {', '.join(order)}")
    return np.asarray([order[text] for text in texts])
