"""Kernels are named by one rule, that of runtime_c/README.md."""

from __future__ import annotations

import re
from typing import Any

import pytest

from dfqgen import resources
from dfqgen.kernels import REGISTRY
from dfqgen.kernels.base import Kernel
from dfqgen.targets import Isa

NAME = re.compile(
    r"dfq_(?P<kernel>[a-z0-9_]+?)_(?P<types>(s8|s16|x8|x16|f32)(s8|s4|s2|sn|s16)?)(_(?P<tile>\dx\d))?(_(?P<isa>dsp|mve))?"
)
KERNELS = REGISTRY.kernels


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: type(kernel).__name__)
def test_a_kernels_function_class_and_header_have_the_same_words(kernel: Kernel[Any]) -> None:
    match = NAME.fullmatch(kernel.function)
    assert match, kernel.function
    assert Isa(match["isa"] or "portable") is kernel.isa
    words = f"{match['kernel']}_{match['types']}_{match['isa'] or ''}"
    assert type(kernel).__name__.lower().endswith(words.replace("_", "") + "kernel")
    header = re.fullmatch(
        rf"{kernel.isa.value}/dfq_[a-z0-9_]+_([sxf][n0-9]+)+({_suffix(kernel)})\.h", kernel.header
    )
    assert header, kernel.header
    assert kernel.function in (resources.runtime_dir() / kernel.header).read_text()


def _suffix(kernel: Kernel[Any]) -> str:
    return "" if kernel.isa is Isa.PORTABLE else f"_{kernel.isa.value}"


def test_every_kernel_in_c_is_registered() -> None:
    names = {
        name
        for path in resources.runtime_dir().glob("*/*.h")
        for name in re.findall(r"^DFQ_KERNEL \w+ (\w+)\(", path.read_text(), re.MULTILINE)
    }
    assert names == {kernel.function for kernel in KERNELS}
