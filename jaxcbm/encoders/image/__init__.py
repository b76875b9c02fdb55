"""From a picture file to the pixels of an image tower."""
