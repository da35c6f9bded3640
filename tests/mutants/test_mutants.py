"""The mutation check that is quick enough for every run; `make mutants` does all of it."""

from __future__ import annotations

from pathlib import Path

from tests.mutants.catalogue import MUTANTS
from tests.mutants.check import ROOT, copy_project, run_mutants
from tests.mutants.proof import survivors
from tests.mutants.sample import mutants_of
from tests.tools import needs


def test_no_statement_bound_or_constant_of_the_proof_can_be_wrong_unseen() -> None:
    names, count = survivors()
    assert names == []
    assert count > 250


def test_every_mutant_still_has_its_place() -> None:
    for mutant in MUTANTS:
        mutant.place(ROOT)


def test_tokens_give_mutants_of_code_alone(tmp_path: Path) -> None:
    source = tmp_path / "a.h"
    source.write_text('/* 1 + 2 */\n#define A 3\nint f(int a) { return -a + 4; } /* "5" */\n')
    found = list(mutants_of(source, tmp_path, ""))
    assert [mutant.name for mutant in found] == ["a.h:3 `+` → `-`", "a.h:3 `4` → `5`"]
    assert "return -a - 4;" in found[0].change(source.read_text())


@needs("gcc")
def test_slips_in_kernels_are_found(tmp_path: Path) -> None:
    quick = [mutant for mutant in MUTANTS if mutant.quick]
    verdicts = {mutant.name: verdict for mutant, verdict in run_mutants(quick, copy_project(tmp_path))}
    assert verdicts == {mutant.name: "killed" for mutant in quick}
