"""What the Concept Bottleneck Layer is trained for: one file an objective, and their table.

All are scalars to minimise, pure, and computed in float32 whatever the input type.

Reference: Semenov et al. 2024 (arXiv 2404.03323) for all but `sigmoid`.
"""
