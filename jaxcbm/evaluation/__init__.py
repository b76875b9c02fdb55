"""Honest splits, metrics over the whole split, and reports."""
