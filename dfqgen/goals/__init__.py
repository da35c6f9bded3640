"""Budgets as goals: what the user left open is chosen until the C fits."""

from dfqgen.goals.fit import Fitted, compile_to_fit

__all__ = ["Fitted", "compile_to_fit"]
