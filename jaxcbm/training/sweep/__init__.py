"""A grid of fits as one compiled program."""
