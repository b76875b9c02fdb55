"""Which parameter lies how on the mesh: one table a family of modules, by parameter path.

A row is a pattern, found anywhere in the path, and how the axes lie. The first row that matches
wins; what no row matches is whole on every device. An axis that the devices do not divide evenly
stays whole too (`jaxcbm.distributed.mesh.fit_spec`).

The pairs of matrices of the towers are split so that the activations between them stay where they
are made: the first over its outputs, the second over its inputs, one sum over `model` after both.
"""

from jax.sharding import PartitionSpec

Rules = tuple[tuple[str, PartitionSpec], ...]

_OUTPUTS, _INPUTS = PartitionSpec(None, "model"), PartitionSpec("model", None)
_VECTOR = PartitionSpec("model")

# W [D, D] or [E, D] and the head [D, K] are split over the concepts they produce or read. So are
# the constants beside them: the encoder's own scores [E, D] and the concepts of classes [K, D].
BOTTLENECK_RULES: Rules = (
    (r"^cbl\.kernel$", _OUTPUTS),
    (r"^cbl\.bias$", PartitionSpec("model")),
    (r"^head\.kernel$", _INPUTS),
    (r"^(base_kernel|class_positives)$", _OUTPUTS),
)

# Attention and MLP of every text tower and of the vision transformers; table rows of embeddings.
TRANSFORMER_RULES: Rules = (
    (r"\.(q|k|v|qkv|up|patch|transformation)\.kernel$", _OUTPUTS),
    (r"\.(q|k|v|qkv|up|patch|transformation)\.bias$", _VECTOR),
    (r"\.(out|down|projection)\.kernel$", _INPUTS),
    (r"\.tokens$", _OUTPUTS),
)

# Inverted bottlenecks: split over the wide channels, which only `project` and `reduce` sum over.
EFFICIENTNET_RULES: Rules = (
    (r"\.squeeze\.reduce\.matrix$", _INPUTS),
    (r"\.squeeze\.expand\.matrix$", _OUTPUTS),
    (r"\.squeeze\.expand\.bias$", _VECTOR),
    (r"\.expand\.kernel$", _OUTPUTS),
    (r"\.project\.kernel$", _INPUTS),
    (r"\.depthwise\.window$", PartitionSpec(None, None, "model")),
    (r"\.(expand_norm|depthwise_norm)\.(scale|bias|mean|variance)$", _VECTOR),
)


def adapter_rules(rules: Rules) -> Rules:
    """Rules for low-rank adapters A [I, R] and B [R, O] of the matrices that rules speak of.

    >>> adapter_rules(((r"out\\.kernel$", PartitionSpec("model", None)),))[0]
    ('^lora\\\\..*out\\\\.kernel\\\\.a$', P('model', None))
    """
    matrices = [(pattern, spec) for pattern, spec in rules if pattern.endswith(("kernel$", "ix$"))]
    return tuple(
        row
        for pattern, spec in matrices
        for row in (
            (rf"^lora\..*{pattern[:-1]}\.a$", PartitionSpec(spec[0], None)),
            (rf"^lora\..*{pattern[:-1]}\.b$", PartitionSpec(None, spec[1])),
        )
    )


TOWER_RULES: Rules = (*EFFICIENTNET_RULES, *TRANSFORMER_RULES)
LORA_RULES: Rules = adapter_rules(TOWER_RULES)
ALL_RULES: Rules = (*BOTTLENECK_RULES, *LORA_RULES, *TOWER_RULES)
