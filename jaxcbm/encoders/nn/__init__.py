"""What the towers of all families are made of."""
