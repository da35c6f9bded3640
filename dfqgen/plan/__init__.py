"""From a fixed-point program to a plan: kernels, order, memory. See `plan_program`."""

from dfqgen.plan.planner import check_plan, plan_program

__all__ = ["check_plan", "plan_program"]
