"""Fuzzing: mutated models, options and files. A short run is in the tests; `make fuzz` runs for hours.

A case of the campaign is a number: the same number is the same model on every machine, so that a campaign
goes on where it stopped and a finding is its number (`python -m tests.fuzz --case N`).
"""
