"""What exported programs say in doc_strings, beside what ONNX can: so that, read again, they are the same."""

COARSE = "multipliers of 16 bits"
"""Of sums."""
HALVES = "halves are rounded as the integers do"
"""Of averages whose halves do not go to the even integer, and of what follows them for the sake of that."""
