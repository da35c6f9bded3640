"""The command line."""

from dfqgen.cli.app import app, main

__all__ = ["app", "main"]
