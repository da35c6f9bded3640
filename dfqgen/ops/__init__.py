"""The operators: what each means in float and in integers, and all that passes must know of it.

They register by class name when their module is imported; the functions here import all of them.
"""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache

from dfqgen.fixedpoint.program import QOp
from dfqgen.graph.ir import Op


def float_operators() -> Mapping[str, type[Op]]:
    """Every float operator by name. (What families have in common is no operator: no dataclass.)"""
    _import_all()
    return {name: kind for name, kind in Op.registry.items() if dataclasses.is_dataclass(kind)}


def integer_operators() -> Mapping[str, type[QOp]]:
    """Every integer operator by name."""
    _import_all()
    return {name: kind for name, kind in QOp.registry.items() if dataclasses.is_dataclass(kind)}


@cache
def _import_all() -> None:
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
