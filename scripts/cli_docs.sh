#!/usr/bin/env bash
# docs/cli.md from the commands' own help; a test sees that it is current.
cd "$(dirname "$0")/.." || exit 1
.venv/bin/python -m typer dfqgen.cli utils docs --name dfqgen --title "The command line"
