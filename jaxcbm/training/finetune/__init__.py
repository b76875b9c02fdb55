"""Training the encoder, or adapters on it, together with the bottleneck."""
