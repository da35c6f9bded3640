"""From a fixed-point program to a plan: kernels, order, memory. See `plan_program`."""

from dfqgen.plan.budget import LayerCost, check_budget, layer_costs, parse_size
from dfqgen.plan.planner import check_plan, plan_program

__all__ = ["LayerCost", "check_budget", "check_plan", "layer_costs", "parse_size", "plan_program"]
