"""The table of objectives: what it may say, who may ask, and what a configuration makes of it."""

import ast
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest

from jaxcbm.bottleneck.config import BottleneckConfig
from jaxcbm.bottleneck.objectives.table import OBJECTIVES, Objective
from jaxcbm.bottleneck.sampler_modules import SAMPLERS, SamplerName
from jaxcbm.errors import UserError

PACKAGE = Path(__file__).parents[2] / "jaxcbm"


def test_the_type_names_every_objective_of_the_table():
    assert get_args(Objective) == tuple(OBJECTIVES)
    assert get_args(SamplerName) == tuple(SAMPLERS)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_record_speaks_of_what_there_is(name):
    record = OBJECTIVES[name]
    known = {field.name for field in fields(BottleneckConfig)}
    assert set(record.fields) <= known
    assert {*record.positives_in, *record.proximal} <= set(record.variants)
    assert "paired" in record.variants, "the default variant"
    assert [own.label for own in OBJECTIVES.values()].count(record.label) == 1


def test_no_other_module_asks_for_an_objective_by_name():
    """What depends on the objective stands in its record: adding one touches no other file."""
    asked = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Compare):
                said = ast.unparse(node)
            elif isinstance(node, ast.Match):
                said = ast.unparse(node.subject)
            else:
                continue
            constants = {c.value for c in ast.walk(node) if isinstance(c, ast.Constant)}
            if "objective" in said and constants & OBJECTIVES.keys():
                asked.append(f"{path.relative_to(PACKAGE)}:{node.lineno}")
    assert not asked


@pytest.mark.parametrize(
    "field, objectives",
    [
        ("penalty", {"l1"}),
        ("cubed", {"similarity"}),
        ("tau_end", {"gumbel"}),
        ("positives_k", {"gumbel", "contrastive", "sigmoid"}),
        ("standardise", set(OBJECTIVES)),
    ],
)
def test_a_field_matters_to_its_objectives(field, objectives):
    assert {name for name in OBJECTIVES if BottleneckConfig(name).uses(field)} == objectives


@pytest.mark.parametrize(
    "field, samplers",
    [
        ("k", {"top_k"}),
        ("hard", {"gumbel_softmax"}),
        ("prior", {"binary_concrete"}),
        ("tau_start", {"gumbel_softmax", "binary_concrete", "top_k"}),
    ],
)
def test_a_field_matters_to_its_samplers(field, samplers):
    config = {name: BottleneckConfig(sampler=name) for name in SAMPLERS}
    assert {name for name in config if config[name].uses(field)} == samplers


def test_pairs_on_the_diagonal_need_no_positives():
    for name in OBJECTIVES:
        for variant in set(OBJECTIVES[name].variants) - {"paired"}:
            assert not BottleneckConfig(name, variant).needs_positives


@pytest.mark.parametrize("variant", ["paper", "diagonal", "released"])
def test_a_variant_that_an_objective_does_not_have_is_one_line(variant):
    with pytest.raises(UserError) as caught:
        BottleneckConfig("sigmoid", variant)
    assert str(caught.value) == (
        f"config.bottleneck.variant={variant}: the objective sigmoid has paired only"
    )


def test_an_unknown_objective_is_one_line_that_names_the_known():
    with pytest.raises(UserError, match=f"objective=l2: choose one of {', '.join(OBJECTIVES)}"):
        BottleneckConfig("l2")
