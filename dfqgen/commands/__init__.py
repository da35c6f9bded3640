"""What the command line offers: one file a command, one function each; results are records or plain facts."""

from dfqgen.commands.advice import judge_evaluation
from dfqgen.commands.build import BuildResult, build, default_output
from dfqgen.commands.doctor import doctor
from dfqgen.commands.evaluate import Evaluation, evaluate, evaluation_facts, load_decoder
from dfqgen.commands.explore import explore
from dfqgen.commands.export import export
from dfqgen.commands.inspect import inspect
from dfqgen.commands.profile import profile
from dfqgen.commands.run import run
from dfqgen.commands.synthesize import synthesize
from dfqgen.commands.targets import targets
from dfqgen.commands.verify import verify

__all__ = [
    "BuildResult",
    "Evaluation",
    "build",
    "default_output",
    "doctor",
    "evaluate",
    "evaluation_facts",
    "explore",
    "export",
    "inspect",
    "judge_evaluation",
    "load_decoder",
    "profile",
    "run",
    "synthesize",
    "targets",
    "verify",
]
