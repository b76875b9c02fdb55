"""Result files: what one run measured on one dataset, as JSON."""
