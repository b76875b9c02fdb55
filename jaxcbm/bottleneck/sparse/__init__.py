"""The sparse head: an elastic-net path with certificates, and the choice of a point on it."""
