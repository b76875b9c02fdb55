"""Fitting: the step, the loop, checkpoints, and contrastive pre-training."""
