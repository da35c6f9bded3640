"""Passes: graph and known statistics in, the same out (`contract.Pass`).

`importing.IMPORT_PASSES` and `data_free.DATA_FREE_PASSES` list them in order. `chains`, `compensate` and
`correct_bias` are no passes: they need what only rounding knows, and it calls them.
"""
