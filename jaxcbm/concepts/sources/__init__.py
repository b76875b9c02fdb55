"""Sources of concept phrases: class names in, phrases with their origins out.

Every source is a function whose first argument is the class names and which returns a list of
`Candidate`; `ConceptSet.from_candidates` makes a set of them. Several sources' lists are joined
with +.
"""
