"""What goes into a network: what its input means, samples from files, and samples made by rule."""
