"""The choice of kernels: by the target's prices, by another core's, and for size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest

from dfqgen.errors import UnsupportedModel
from dfqgen.fixedpoint.program import QTensor
from dfqgen.kernels.base import ConstArray, LayerCode, Registry
from dfqgen.plan.kernels import choices, choose_kernels
from dfqgen.targets import CostTable, Target, load_target
from tests.plan import fakes


class Fake(fakes.FakeKernel):
    """A kernel with constants, which may handle small inputs only."""

    constant_bytes: ClassVar[int] = 0
    largest_input: ClassVar[int] = 1 << 20

    def supports(self, op: fakes.FakeOp, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return inputs[0].elements <= self.largest_input

    def code(self, op: fakes.FakeOp, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        return LayerCode(
            self.function, "t", "t", (), (ConstArray("w", np.zeros(self.constant_bytes, np.int8)),)
        )


class General(Fake):
    function = "general"


class Special(Fake):
    function = "special"
    largest_input = 64


REGISTRY = Registry([General(), Special()])
SIZES = [64, 64, 96, 64]
PROGRAM = fakes.chain(SIZES, [None] * (len(SIZES) - 1))


def target(**tables: Any) -> Target:
    return replace(load_target("cortex-m4"), costs=CostTable(**tables))


def names(target: Target, optimize: str = "speed") -> list[str]:
    return [kernel.function for kernel in choose_kernels(PROGRAM, target, REGISTRY, optimize) if kernel]


def test_without_a_table_another_cores_prices_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    reference = target(speed={"general": {"output": 2.0}, "special": {"output": 1.0}})
    monkeypatch.setattr("dfqgen.plan.kernels.load_target", lambda name: reference)
    assert names(target()) == ["special", "special", "general"]
    assert not any(choice.measured for choice in choices(PROGRAM, target(), REGISTRY) if choice)


def test_a_kernel_that_no_table_knows_counts_its_outputs() -> None:
    chosen = [choice for choice in choices(PROGRAM, target(), REGISTRY) if choice]
    assert [choice.instructions for choice in chosen] == [64, 96, 64]


def test_the_targets_own_prices_decide() -> None:
    priced = target(speed={"general": {"call": 5.0, "output": 2.0}, "special": {"output": 3.0}})
    assert names(priced) == ["general", "general", "general"]
    chosen = [choice for choice in choices(PROGRAM, priced, REGISTRY) if choice]
    assert [choice.instructions for choice in chosen] == [5 + 2 * 64, 5 + 2 * 96, 5 + 2 * 64]
    assert all(choice.measured for choice in chosen)


def test_a_price_of_what_a_layer_has_not_costs_nothing() -> None:
    priced = target(speed={"general": {"output": 2.0}, "special": {"output": 1.0, "mac": 1e9}})
    assert names(priced) == ["special", "special", "general"]


CODE = {"general": {"general": 400, "shared": 100}, "special": {"special": 300, "shared": 100}}


def test_size_gives_up_a_function_whose_layers_have_another() -> None:
    prices = {"general": {"output": 1.1}, "special": {"output": 1.0}}
    assert names(target(speed=prices, size=prices, code_bytes=CODE)) == ["special", "special", "general"]
    assert names(target(size=prices, code_bytes=CODE), "size") == ["general"] * 3


def test_size_does_not_give_up_too_much_speed() -> None:
    prices = {"general": {"output": 2.0}, "special": {"output": 1.0}}
    assert names(target(size=prices, code_bytes=CODE), "size") == ["special", "special", "general"]


def test_size_counts_constants(monkeypatch: pytest.MonkeyPatch) -> None:
    prices = {"general": {"output": 1.1}, "special": {"output": 1.0}}
    monkeypatch.setattr(General, "constant_bytes", 1000)
    assert names(target(size=prices, code_bytes=CODE), "size") == ["special", "special", "general"]


def test_size_is_speed_where_code_was_not_measured() -> None:
    prices = {"general": {"output": 1.1}, "special": {"output": 1.0}}
    assert names(target(size=prices), "size") == ["special", "special", "general"]


def test_what_no_kernel_can_do_is_listed() -> None:
    with pytest.raises(UnsupportedModel, match="1 operator of this network has no kernel for cortex-m4"):
        choose_kernels(PROGRAM, target(), Registry([Special()]))
