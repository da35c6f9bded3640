"""A pytest plugin: a mutant is killed by any example, so that Hypothesis need not look for the smallest."""

from __future__ import annotations

from hypothesis import Phase, settings

settings.register_profile("mutants", phases=[Phase.explicit, Phase.generate], database=None)
settings.load_profile("mutants")
