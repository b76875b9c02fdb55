"""Speed and accuracy, measured. `python -m benchmarks` runs the speed rows (extra `benchmark`)."""
