"""Dual encoders: towers, their files, their preprocessing, and one class that runs them."""
