"""CLIP: two pre-norm transformers for images and texts."""
