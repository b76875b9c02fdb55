"""Concept sets: the phrases that decisions are made of, and where they come from."""
