"""What can be said about a painted bird's picture that has nothing to do with its species.

Scenes are drawn before the bird is known: by construction, none of this tells the species. Concepts
that only say such things are the measure of leakage.
"""

NUISANCE_PHRASES = (
    "bird against the sky",
    "leaves behind the bird",
    "water behind the bird",
    "reeds behind the bird",
    "snow behind the bird",
    "bird facing left",
    "bird facing right",
    "bird leaning forwards",
    "bird standing upright",
    "leaves before the bird",
    "bright light",
    "dim light",
    "warm light",
    "cold light",
    "soft shadow across the picture",
)
