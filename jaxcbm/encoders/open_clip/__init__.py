"""Checkpoints in open_clip's layout, read as CLIP."""
