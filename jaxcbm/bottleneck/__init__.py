"""The maths of a concept bottleneck: pure functions on arrays, and Flax modules around them."""
