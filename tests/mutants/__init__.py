"""Mutation check: small wrongs in the specification, the proof and the kernels, which the tests must find."""
