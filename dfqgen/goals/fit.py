"""The way to a build that fits: solve, build, correct what was foretold by what came out, solve again.

A build that fits at once is the answer. Where it does not, what the recipe leaves open is chosen by an
integer program (`solver.py`) over prices and predicted noise (`menu.py`): int16 or int8, Winograd's
algorithm, speed or size; then weights of fewer bits too, unless what fits without them has lost nothing. Of
both the one of less simulated noise is built. What the user chose stays. The planner sees to streaming
itself. Every choice is compiled for real; flash, time and RAM that differ from the prediction correct the
next one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean

from dfqgen.compile import (
    Built,
    Compiled,
    Draft,
    check_draft,
    compile_model,
    draft_c,
    prepare_again,
    quantize_again,
    verify_draft,
)
from dfqgen.errors import BudgetExceeded, UserError
from dfqgen.fixedpoint.qtype import IntType
from dfqgen.goals.code import CodeSizes
from dfqgen.goals.menu import Menu
from dfqgen.goals.solver import Answer, Limits, solve
from dfqgen.goals.words import given_up, tried
from dfqgen.plan.budget import Budget
from dfqgen.plan.estimate import estimate, per_second
from dfqgen.progress import Progress, silent
from dfqgen.quantization.choose_bits import mapped_bits
from dfqgen.quantization.lower import lower
from dfqgen.quantization.prepared import Prepared
from dfqgen.quantization.rounding import Independent
from dfqgen.quantization.types import assign_types
from dfqgen.recipe.choices import with_low_bits
from dfqgen.recipe.records import ActivationsRecipe, BitsPattern, Optimize, Recipe

ROUNDS = 5
"""Trials at most for each set of choices: code is about as large as foretold, and the second trial knows."""

SPARE = 0.002
"""Share of the limits that a correction takes off beside what was too much, so that a second one is rare."""

WORTH = 1.1
"""How much more noise what is made for speed may have than what is made for size."""

REAL_BUILDS = 2
"""A trial's code may be a few bytes smaller than that of the weights as they are rounded at last."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """An answer, and what the C is made for."""

    way: Optimize
    answer: Answer


@dataclass(frozen=True, slots=True)
class Costs:
    """What a build takes, or is foretold to take; `noise` is noise-to-signal at the outputs."""

    flash_bytes: float
    instructions: float
    ram_bytes: float
    noise: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """What fits, and what was given up for it in words. `foretold` is what the solver expected of it in the
    last round. `first` is what it expected of its first choice, before anything of it was built, and
    `first_found` what that took. All are None where the build fitted at once.
    """

    compiled: Compiled
    built: Built
    sacrifices: tuple[str, ...] = ()
    first: Costs | None = None
    first_found: Costs | None = None
    foretold: Costs | None = None


def compile_to_fit(
    model: str | Path, recipe: Recipe | None, budget: Budget, progress: Progress = silent
) -> Fitted:
    """The build of a recipe, its open choices changed where it would not fit.

    Raises BudgetExceeded with the nearest miss, other UserErrors and VerificationFailed.
    """
    compiled = compile_model(model, recipe, progress)
    draft = draft_c(compiled, budget, progress)
    try:
        check_draft(compiled, draft, budget)
    except BudgetExceeded as error:
        return Fitting(compiled, draft, budget, progress).run(error)
    return Fitted(compiled, verify_draft(compiled, draft, progress))


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """What fits, its C not yet verified; the rest as in Fitted."""

    compiled: Compiled
    draft: Draft
    first: Costs | None
    first_found: Costs | None
    foretold: Costs


@dataclass
class Fitting:
    """The search for what fits in place of `compiled`, of which `draft` is the C. `drafts` are of the same
    for speed and for size, `sizes` what is known of code made so, `nearest` is the least miss so far, `first`
    what the first answer foretold and `first_found` what it took.
    """

    compiled: Compiled
    draft: Draft
    budget: Budget
    progress: Progress
    drafts: dict[Optimize, Draft] = field(default_factory=dict)
    sizes: dict[Optimize, CodeSizes] = field(default_factory=dict)
    nearest: BudgetExceeded | None = None
    first: Costs | None = None
    first_found: Costs | None = None

    def run(self, error: BudgetExceeded) -> Fitted:
        """The best that fits of all open choices; `error` says what `draft` misses."""
        self.nearest = error
        asked = self.compiled.recipe
        self.drafts[asked.code.made_for] = self.draft
        looked_at: list[str] = []
        # No width of weights changes the arena.
        narrower = asked.low_bits.wish is None and set(error.excess) != {"ram"}
        best: Candidate | None = None
        for few_bits in (False, True) if narrower else (False,):
            found = self._search(few_bits=few_bits, last=best is None and few_bits is narrower)
            best = _better(best, found)
            if best is not None and _noise(best.compiled) <= WORTH * _noise(self.compiled):
                break  # nothing was lost that fewer bits could save
            looked_at += tried(asked, few_bits=few_bits)
        if best is None:
            hint = f"Tried: {', '.join(looked_at)}.\n{self.nearest.hint}" if looked_at else self.nearest.hint
            raise BudgetExceeded(self.nearest.message, hint, self.nearest.excess)
        words = given_up(self.compiled, best.compiled, best.draft.plan)
        built = verify_draft(best.compiled, best.draft, self.progress)
        return Fitted(best.compiled, built, words, best.first, best.first_found, best.foretold)

    def _search(self, *, few_bits: bool, last: bool) -> Candidate | None:
        """What fits of one set of choices, its weights rounded as they will be. None where nothing does, the
        nearest miss noted, if this is the `last` set.
        """
        asked = self.compiled.recipe
        base = asked
        if few_bits:  # what is usual for them, whichever they will be
            base = with_low_bits(asked, replace(asked.low_bits, wish=BitsPattern((IntType.INT8,))))
        prepared = prepare_again(self.compiled, base, self.progress)
        self.progress("weighing what fewer bits cost" if few_bits else "weighing what fits")
        for way in self._ways():
            self.sizes.setdefault(way, CodeSizes(self.compiled.target, way))
        menu = _menu(prepared, base, self.compiled, few_bits, self.sizes)
        off = {way: self._correction(menu, way) for way in self._ways()}
        self.first = self.first_found = None
        for _ in range(REAL_BUILDS):
            chosen = self._settle(menu, off, last=last)
            if chosen is None:
                return None
            recipe = self._recipe(menu, chosen)
            compiled = self.compiled
            if replace(recipe, code=asked.code) == asked:
                compiled = replace(compiled, recipe=recipe)
            else:
                compiled = quantize_again(compiled, prepared, recipe, self.progress)
            draft = draft_c(compiled, self.budget, self.progress)
            foretold = _plus(chosen.answer, off[chosen.way])
            try:
                check_draft(compiled, draft, self.budget)
            except BudgetExceeded as error:
                self._note(error)
                off[chosen.way] = _corrected(chosen.answer, draft, error)
                continue
            return Candidate(compiled, draft, self.first, self.first_found, foretold)
        return None

    def _settle(self, menu: Menu, off: dict[Optimize, Costs], *, last: bool) -> Chosen | None:
        """The best answer whose C fits, its weights rounded in the quickest way; `off` is corrected by what
        comes out. None where nothing fits, the nearest miss noted, if this is the `last` set of choices.
        """
        found: Chosen | None = None
        seen: list[Chosen] = []
        for _ in range(ROUNDS):
            chosen = self._best(menu, off)
            self.first = self.first or _plus(chosen.answer, off[chosen.way])
            if chosen in seen or (chosen.answer.excess and (found or not last)):
                break
            seen.append(chosen)
            trial = self._trial(menu, chosen)
            if trial is None:
                break
            draft = draft_c(trial, self.budget, self.progress)
            self.first_found = self.first_found or _costs(draft)
            off_before = off[chosen.way]
            try:
                check_draft(trial, draft, self.budget)
            except BudgetExceeded as error:
                self._note(error)
                if chosen.answer.excess:
                    break
                off[chosen.way] = _corrected(chosen.answer, draft, error)
                continue
            if found is None or chosen.answer.noise < found.answer.noise:
                found = chosen
            off[chosen.way] = _corrected(chosen.answer, draft)
            if off_before.flash_bytes - off[chosen.way].flash_bytes <= SPARE * draft.flash_bytes:
                break  # with so little more room there is nothing better
        return found

    def _trial(self, menu: Menu, chosen: Chosen) -> Compiled | None:
        """The network by an answer, its weights to nearest: the C is as large and as fast. None where int16
        leaves arithmetic no room.
        """
        recipe, before = self._recipe(menu, chosen), self.compiled
        if (recipe.activations, recipe.low_bits) == (before.recipe.activations, before.recipe.low_bits):
            return replace(before, recipe=recipe)
        typed = assign_types(menu.prepared, recipe.activations)
        nodes = {node.output: node.name for node in typed.graph.nodes}
        bits = {name: menu.given.get(layer, IntType.INT8) for name, layer in nodes.items()}
        bits |= mapped_bits(typed.graph, recipe.low_bits.bits_map)
        try:
            program = lower(typed, Independent(recipe.weights).round(typed, bits))
        except UserError:
            return None
        return replace(before, recipe=recipe, quantized=replace(before.quantized, program=program))

    def _ways(self) -> tuple[Optimize, ...]:
        """What the C may be made for, the usual first; size takes less flash, speed a little less time."""
        code = self.compiled.recipe.code
        ways: list[Optimize] = [code.made_for]
        limit = self.budget.on(self.compiled.target)
        if code.optimize is None and limit.seconds is not None:
            ways.append("speed")
        if (
            code.optimize is None
            and limit.flash_bytes is not None
            and self.draft.flash_bytes > limit.flash_bytes
        ):
            ways.append("size")
        return tuple(ways)

    def _correction(self, menu: Menu, way: Optimize) -> Costs:
        """What the C of the first draft takes beyond what its options would add up to."""
        if way not in self.drafts:
            code = replace(self.compiled.recipe.code, optimize=way)
            other = replace(self.compiled, recipe=replace(self.compiled.recipe, code=code))
            self.drafts[way] = draft_c(other, self.budget, self.progress)
        draft = self.drafts[way]
        plan, took = draft.plan, _costs(draft)
        return Costs(
            took.flash_bytes - menu.flash_bytes(plan, way),
            took.instructions - menu.instructions(plan, way),
            took.ram_bytes - menu.ram_bytes(self.compiled.program, plan),
        )

    def _best(self, menu: Menu, off: Mapping[Optimize, Costs]) -> Chosen:
        """The way and the answer of least noise, or of least excess where nothing fits."""
        answers = [Chosen(way, self._planned(menu, way, more)) for way, more in off.items()]
        fitting = [chosen for chosen in answers if not chosen.answer.excess]
        # The first of equals is the usual way; less than a tenth more noise is not worth a quarter more time.
        if fitting:
            least = min(chosen.answer.noise for chosen in fitting)
            return next(chosen for chosen in fitting if chosen.answer.noise <= WORTH * least)
        return min(answers, key=lambda chosen: sum(chosen.answer.excess.values()))

    def _planned(self, menu: Menu, way: Optimize, off: Costs) -> Answer:
        """The best answer with the kernels that the planner takes for it. What those take less or more than
        the fastest ones is corrected until what fits leaves hardly any room.
        """
        limits, gap = self._limits(off), Costs(0.0, 0.0, 0.0)
        alive = menu.alive(self.compiled.program, self.drafts[way].plan)
        best: Answer | None = None
        for _ in range(ROUNDS):
            answer = solve(menu.question(way, alive, limits.less(gap.flash_bytes, gap.instructions)))
            planned = menu.planned(answer, way)
            planned = replace(planned, excess=limits.excess(planned))
            if best is None or _rank(planned) < _rank(best):
                best = planned
            found = Costs(
                planned.flash_bytes - answer.flash_bytes, planned.instructions - answer.instructions, 0.0
            )
            if not planned.excess and gap.flash_bytes - found.flash_bytes <= SPARE * planned.flash_bytes:
                break  # as in `_settle`
            gap = found
        assert best is not None
        return best

    def _limits(self, off: Costs) -> Limits:
        limit = self.budget.on(self.compiled.target)
        flash = None if limit.flash_bytes is None else limit.flash_bytes - off.flash_bytes
        ram = None if limit.ram_bytes is None else limit.ram_bytes - off.ram_bytes
        time = None
        if limit.seconds is not None:
            time = limit.seconds * per_second(self.compiled.target) - off.instructions
        return Limits(flash, time, ram)

    def _recipe(self, menu: Menu, chosen: Chosen) -> Recipe:
        """The recipe that says it all."""
        asked, nodes = menu.recipe, {node.output: node for node in menu.search.nodes}
        code, options = self.compiled.recipe.code, chosen.answer.options
        if chosen.way != "size":
            spending = tuple(nodes[name].name for name, option in options.items() if option.spends)
            code = replace(code, winograd=spending or "off")
        if chosen.way != code.made_for:
            code = replace(code, optimize=chosen.way)
        activations = asked.activations
        if activations.activations == "auto":
            usual = ActivationsRecipe().time_allowance  # of "auto" alone
            activations = replace(menu.search.settled(chosen.answer.wide), time_allowance=usual)
        low_bits = self.compiled.recipe.low_bits
        if menu.few_bits:
            bits = {
                nodes[name].name: option.dtype
                for name, option in options.items()
                if option.dtype is not None and option.dtype is not IntType.INT8
            }
            low_bits = replace(low_bits, bits_map=dict(low_bits.bits_map) | bits)
        return replace(asked, code=code, activations=activations, low_bits=low_bits)

    def _note(self, error: BudgetExceeded) -> None:
        assert self.nearest is not None
        limit = self.budget.on(self.compiled.target)
        if _miss(error, limit) < _miss(self.nearest, limit):
            self.nearest = error


def _noise(compiled: Compiled) -> float:
    """Noise-to-signal at the outputs as simulated, the mean of all."""
    return fmean(10.0 ** (-decibels / 10.0) for decibels in compiled.quantized.predicted_db.values())


def _better(one: Candidate | None, other: Candidate | None) -> Candidate | None:
    """The one of less simulated noise, of equals the first."""
    if one is None or other is None:
        return one or other
    return other if _noise(other.compiled) < _noise(one.compiled) else one


def _rank(answer: Answer) -> tuple[float, float]:
    """The less the better: excess, then noise."""
    return sum(answer.excess.values()), answer.noise


def _corrected(answer: Answer, draft: Draft, error: BudgetExceeded | None = None) -> Costs:
    """What this C took more than its options, and a little where it was too much."""
    took = _costs(draft)
    excess = {} if error is None else error.excess
    flash, time, ram = (SPARE * (name in excess) for name in ("flash", "time", "ram"))
    return Costs(
        (1.0 + flash) * took.flash_bytes - answer.flash_bytes,
        (1.0 + time) * took.instructions - answer.instructions,
        (1.0 + ram) * took.ram_bytes - answer.ram_bytes,
    )


def _costs(draft: Draft) -> Costs:
    instructions = sum(layer.instructions for layer in estimate(draft.plan))
    return Costs(draft.flash_bytes, instructions, draft.plan.arena_bytes)


def _menu(
    prepared: Prepared,
    recipe: Recipe,
    compiled: Compiled,
    few_bits: bool,
    sizes: Mapping[Optimize, CodeSizes],
) -> Menu:
    """With int16 where the recipe leaves it open and it can be."""
    target, program = compiled.target, compiled.program
    try:
        return Menu(prepared, recipe, target, program, few_bits=few_bits, sizes=sizes)
    except UserError:
        narrow = replace(recipe, activations=replace(recipe.activations, activations="int8"))
        return Menu(prepared, narrow, target, program, few_bits=few_bits, sizes=sizes)


def _plus(answer: Answer, more: Costs) -> Costs:
    return Costs(
        answer.flash_bytes + more.flash_bytes,
        answer.instructions + more.instructions,
        answer.ram_bytes + more.ram_bytes,
        answer.noise,
    )


def _miss(error: BudgetExceeded, limit: Budget) -> float:
    """Excess over the limits, relative."""
    limits = {"flash": limit.flash_bytes, "ram": limit.ram_bytes, "time": limit.seconds}
    return sum(amount / (limits[name] or 1.0) for name, amount in error.excess.items())
