"""A network that does not fit says by how much, and which layers cost most."""

from __future__ import annotations

import dataclasses

import pytest

from dfqgen.errors import BudgetExceeded
from dfqgen.plan import Budget, LayerCost, check_budget, layer_costs
from dfqgen.targets import load_target
from tests.plan.fakes import chain, plan

SMALL = dataclasses.replace(load_target("cortex-m4"), flash_bytes=1000, ram_bytes=500)
LAYERS = [LayerCost("first", "3x3 convolution", 100, 450), LayerCost("second", "dense", 900, 80)]


def test_a_network_within_budget_passes() -> None:
    check_budget(1000, 500, SMALL, LAYERS)


def test_flash_and_ram_overruns_are_told_together_with_the_worst_layers_first() -> None:
    with pytest.raises(BudgetExceeded) as error:
        check_budget(1010, 600, SMALL, LAYERS)
    text = str(error.value)
    assert "flash: 1,010 bytes needed, 1,000 available, 10 too many" in text
    assert "RAM: 600 bytes needed, 500 available, 100 too many" in text
    assert text.index("second: 900 bytes (dense)") < text.index("first: 100 bytes")
    assert "--ram" in text


def test_limits_given_by_the_user_replace_the_targets() -> None:
    check_budget(5000, 5000, SMALL, LAYERS, Budget(5000, 5000))
    with pytest.raises(BudgetExceeded):
        check_budget(900, 400, SMALL, LAYERS, Budget(ram_bytes=399))


def test_the_host_has_no_budget() -> None:
    check_budget(1 << 40, 1 << 40, load_target("host"), LAYERS)


def test_layer_costs_count_the_bytes_in_use_at_each_step() -> None:
    fake = chain([64, 256, 32], [None, None], scratch_bytes=16)
    costs = layer_costs(fake, plan(fake))
    assert [cost.ram_bytes for cost in costs] == [64 + 256 + 16, 256 + 32 + 16]


def test_parts_of_the_core_that_have_enough_are_named_smallest_first() -> None:
    with pytest.raises(BudgetExceeded, match="have enough: stm32l496, ") as error:
        check_budget(900_000, 300_000, load_target("stm32f411"), LAYERS)
    assert "stm32l476" not in str(error.value)
