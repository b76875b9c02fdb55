"""A model as a folder for other machines, and its prediction as one program."""
