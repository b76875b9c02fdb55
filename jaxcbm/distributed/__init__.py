"""Where arrays live: the device mesh and the placement of parameters."""
