"""Prediction, explanation and the model on disk."""
