"""The generated C under many compilers, flags and processors: the same bits."""
