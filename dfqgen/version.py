"""Which dfqgen this is."""

import importlib.metadata

__version__ = importlib.metadata.version("dfqgen")
