"""From a fixed-point program to a plan: kernels, order, memory. See `plan_program`."""

from dfqgen.plan.budget import Budget, LayerCost, check_budget, layer_costs
from dfqgen.plan.check import check_plan
from dfqgen.plan.planner import plan_program

__all__ = ["Budget", "LayerCost", "check_budget", "check_plan", "layer_costs", "plan_program"]
