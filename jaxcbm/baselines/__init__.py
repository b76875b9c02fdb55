"""Systems to compare with, each a small module on the same features."""
