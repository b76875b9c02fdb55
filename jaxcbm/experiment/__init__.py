"""From a config to a fitted and evaluated model, in Python."""
