"""Which parameters of an encoder train, adapters on them, and what training changed."""
