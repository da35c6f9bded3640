#!/usr/bin/env bash
# Wheel, sdist and SBOM of the last commit in dist/. The wheel's bytes follow from the commit alone.
set -euo pipefail
cd "$(dirname "$0")/.."

python=.venv/bin/python
export SOURCE_DATE_EPOCH
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
git archive --prefix=source/ HEAD | tar -x -C "$scratch"
rm -rf dist
"$python" -m build --no-isolation --outdir dist "$scratch/source"
"$python" -m twine check --strict dist/*

# What an installed wheel brings with it, and nothing of development
"$python" -m venv "$scratch/installed"
"$scratch/installed/bin/pip" install --quiet dist/*.whl
"$python" -m venv "$scratch/tool"
"$scratch/tool/bin/pip" install --quiet "cyclonedx-bom>=7,<8"
"$scratch/tool/bin/cyclonedx-py" environment --pyproject pyproject.toml --mc-type application --output-reproducible \
    --output-file dist/dfqgen.cdx.json "$scratch/installed/bin/python"
sha256sum dist/*
