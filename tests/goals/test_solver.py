"""The integer program against all choices tried one by one."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from dfqgen.fixedpoint.qtype import IntType
from dfqgen.goals.solver import Alive, Answer, LayerOptions, Limits, Option, Question, _silence, solve

FAMILIES = ("p", "q")
AROUND = {"a": ("p",), "b": ("p", "q"), "c": ("q",)}
WIDTHS = (IntType.INT2, IntType.INT4, IntType.INT8)
SHARED = {"common": 400, "packed": 900, "wide": 700, "blocks": 500}
"""Bytes of functions that layers share."""


def called(dtype: IntType, *, wide: bool, spends: bool) -> frozenset[str]:
    """By an option: the fewer kinds of them, the less code."""
    needs = {"common": True, "packed": dtype.bits < 8, "wide": wide, "blocks": spends}
    return frozenset(name for name, is_needed in needs.items() if is_needed)


def question(seed: int, limits: Limits) -> Question:
    """Three layers in a row with two tensors between them; fewer bits are smaller, noisier, slower."""
    rng = np.random.default_rng(seed)
    layers = []
    for name, families in AROUND.items():
        size, time, noise = rng.integers(500, 4000), rng.uniform(1e4, 1e5), rng.uniform(1e-3, 1e-2)
        options = [
            Option(
                dtype,
                frozenset(family for family, wide in zip(families, chosen, strict=True) if wide),
                spends,
                int(size * dtype.bits / 8 * (4 if spends else 1)),
                time * (1 + 0.5 * sum(chosen)) * (1.3 if dtype.bits < 8 else 1) * (0.6 if spends else 1),
                noise * 4.0 ** (4 - dtype.bits),
                called(dtype, wide=any(chosen), spends=spends),
            )
            for dtype in WIDTHS
            for chosen in product((False, True), repeat=len(families))
            for spends in (False, True)
        ]
        layers.append(LayerOptions(name, frozenset(families), tuple(options)))
    gains = dict(zip(FAMILIES, rng.uniform(1e-3, 1e-2, 2), strict=True))
    alive = [Alive(3000, {"p": 1000}), Alive(2500, {"p": 1000, "q": 800})]
    return Question(layers, gains, sum(gains.values()) + 1e-3, alive, limits, SHARED)


def everything(asked: Question) -> list[tuple[float, float, float, float]]:
    """(noise, flash, instructions, RAM) of every consistent choice."""
    found: list[tuple[float, float, float, float]] = []
    for wide in product((False, True), repeat=len(FAMILIES)):
        chosen = {family for family, is_wide in zip(FAMILIES, wide, strict=True) if is_wide}
        noise = asked.noise - sum(asked.gains[family] for family in chosen)
        ram = max(a.settled_bytes + sum(a.more_bytes.get(f, 0) for f in chosen) for a in asked.alive)
        own = [[o for o in layer.options if o.wide == layer.families & chosen] for layer in asked.layers]
        for options in product(*own):
            flash = flash_bytes(options)
            time = sum(o.instructions for o in options)
            found.append((noise + sum(o.noise for o in options), flash, time, ram))
    return found


LIMITS = [
    Limits(),
    Limits(flash_bytes=6000),
    Limits(flash_bytes=9000, instructions=1.5e5),
    Limits(flash_bytes=12000, instructions=2.5e5, ram_bytes=4000),
    Limits(ram_bytes=3600),
]


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("seed", range(4))
def test_no_choice_within_the_limits_has_clearly_less_noise(seed: int, limits: Limits) -> None:
    asked = question(seed, limits)
    answer = solve(asked)
    bounds = [np.inf if bound is None else bound for bound in (limits.flash_bytes, limits.instructions)]
    bounds.append(np.inf if limits.ram_bytes is None else limits.ram_bytes)
    within = [
        noise
        for noise, *costs in everything(asked)
        if all(c <= b for c, b in zip(costs, bounds, strict=True))
    ]
    if not within:
        assert answer.excess
        return
    assert not answer.excess
    assert taken(answer) == pytest.approx(recounted(asked, answer))
    # Time weighs a little, so that a choice of hardly more noise may win: half of the time a 100th of it.
    assert answer.noise <= min(within) + 0.02 * max(min(within), 1e-3)


def taken(answer: Answer) -> list[float]:
    return [answer.noise, answer.flash_bytes, answer.instructions, answer.ram_bytes]


def recounted(asked: Question, answer: Answer) -> list[float]:
    options = list(answer.options.values())
    assert all(o.wide == layer.families & answer.wide for o, layer in zip(options, asked.layers, strict=True))
    noise = asked.noise - sum(asked.gains[f] for f in answer.wide) + sum(o.noise for o in options)
    ram = max(a.settled_bytes + sum(a.more_bytes.get(f, 0) for f in answer.wide) for a in asked.alive)
    return [noise, flash_bytes(options), sum(o.instructions for o in options), ram]


def flash_bytes(options: Sequence[Option]) -> int:
    functions = set[str]().union(*(option.calls for option in options))
    return sum(option.flash_bytes for option in options) + sum(SHARED[name] for name in functions)


def test_where_nothing_fits_the_least_excess_is_told() -> None:
    asked = question(0, Limits(flash_bytes=100))
    answer = solve(asked)
    smallest = min(flash for _, flash, _, _ in everything(asked))
    assert answer.flash_bytes == smallest
    assert answer.excess == {"flash": pytest.approx((smallest - 100) / 100)}
    assert not solve(replace(asked, limits=Limits(flash_bytes=smallest))).excess


def test_of_equal_noise_the_faster_is_chosen() -> None:
    slow, fast = (
        Option(IntType.INT8, frozenset(), spends, 100, time) for spends, time in ((False, 9.0), (True, 5.0))
    )
    asked = Question([LayerOptions("a", frozenset(), (slow, fast))], {}, 1e-3, [], Limits())
    assert solve(asked).options["a"].spends


def test_what_the_solver_writes_does_not_reach_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    with _silence():
        subprocess.run(["echo", "a line of its own"], check=True)
    print("ours")
    assert capfd.readouterr().out == "ours\n"
