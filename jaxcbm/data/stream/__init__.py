"""Batches of embeddings read from a store that need not fit in memory."""
