"""Filters over a concept set, and the log of what each dropped."""
