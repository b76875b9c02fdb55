"""What a fit leaves: a model that predicts, explains, takes corrections, and goes to disk."""
