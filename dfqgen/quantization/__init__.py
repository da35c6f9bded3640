"""The bridge between the float graph and the fixed-point program: types, bits, rounding, lowering."""
