"""Names of a package that are imported when somebody first uses them (PEP 562)."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def on_demand(package: str, origins: Mapping[str, str]) -> Callable[[str], Any]:
    """A `__getattr__` for `package`; `origins` tells the module that defines each name."""

    def get(name: str) -> Any:
        if name not in origins:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(origins[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return get
