"""The explorer: one page in which pictures, concepts and classes are looked at and corrected."""
