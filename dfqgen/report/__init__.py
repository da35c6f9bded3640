"""What a build has to tell: one dictionary of facts, and the page made from it."""
