"""Result files in, pages out."""
