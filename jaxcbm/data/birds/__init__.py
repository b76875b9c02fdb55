"""Painted birds whose species are combinations of attributes; deterministic from a seed."""

from jaxcbm.data.birds.birds import load_birds, random_birds

__all__ = ["load_birds", "random_birds"]
