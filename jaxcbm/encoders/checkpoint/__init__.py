"""Checkpoints on disk and on the hub: found, read, converted, written."""
