"""`python -m dfqgen` is the command `dfqgen`."""

from dfqgen.cli import main

main()
