"""The plan against the fit: what is compiled for a slice is what the fit calls, to the argument."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from finetune_problem import FINETUNE, PHRASES, make_recipe, make_splits

from jaxcbm.bottleneck.config import BottleneckConfig
from jaxcbm.bottleneck.objectives.table import OBJECTIVES
from jaxcbm.data.features import Features
from jaxcbm.distributed.mesh import make_mesh
from jaxcbm.encoders.finetune.lora import LoraConfig
from jaxcbm.model.texts import Texts
from jaxcbm.planning.encoder_structure import encoder_structure
from jaxcbm.planning.finetune_stage import finetune_stage
from jaxcbm.planning.job import Job
from jaxcbm.planning.train_stage import train_stage
from jaxcbm.training import fit as fit_module
from jaxcbm.training.config import FitConfig, MeshConfig, TrainingConfig
from jaxcbm.training.finetune import fit as finetune_module
from jaxcbm.training.finetune.config import FinetuneConfig
from jaxcbm.training.finetune.fit import begin, run_finetune
from jaxcbm.training.fit import fit_features

IMAGES, VALID, CLASSES, BATCH = 83, 21, 3, 16
NARROW, WIDE = 24, 544  # concepts: scores are kept, or made batch by batch
CLASS_NAMES = ("owl", "wren", "tit")


class Called(Exception):
    """Ends a fit at its first step."""


def described(tree):
    """Shape, type and placement of every array."""

    def leaf(array):
        spec = array.sharding.spec
        # A trailing None says nothing.
        axes = tuple(spec) + (None,) * (array.ndim - len(spec))
        return array.shape, str(array.dtype), axes

    return {
        jax.tree_util.keystr(path): leaf(array) for path, array in jax.tree.leaves_with_path(tree)
    }


def job(concepts, annotated, **options):
    bottleneck, data = options.pop("bottleneck"), options.pop("data")
    return Job(
        encoder=encoder_structure("jaxcbm/tiny", "float32"),
        config=FitConfig(
            bottleneck=bottleneck,
            training=TrainingConfig(epochs=1, batch_size=BATCH, data=data),
            mesh=MeshConfig(data=4, model=2),
        ),
        finetune=FinetuneConfig(),
        rules=(),
        lora=LoraConfig(),
        train=IMAGES,
        valid=VALID,
        test=0,
        concepts=concepts,
        classes=CLASSES,
        annotated=annotated is not False,
        some_unknown=annotated == "in part",
    )


def features(count, width, phrases, annotated, seed):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(count, width)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    present = rng.integers(0, 2, (count, len(phrases))).astype(np.float32)
    if annotated == "in part":
        phrases, present = phrases[:-1], present[:, :-1]
    return Features.from_arrays(
        rows,
        rng.integers(0, CLASSES, count),
        CLASS_NAMES,
        annotations=present if annotated else None,
        annotation_phrases=phrases if annotated else (),
    )


def first_call(planned, mesh, monkeypatch):
    """The arguments of the first step of the fit that a job describes."""
    width, config = planned.encoder.embed_dim, planned.config
    annotated = "in part" if planned.some_unknown else planned.annotated
    phrases = tuple(f"phrase {d}" for d in range(planned.concepts))
    rng = np.random.default_rng(5)
    words = [
        jnp.asarray(rng.normal(size=(count, width)), jnp.float32)
        for count in (planned.concepts, CLASSES)
    ]
    seen = []

    def run(feed, state, mesh, **_):
        unit = next(iter(feed.units(0, 0, feed.steps_per_epoch)))
        seen.append((state, *unit.arguments))
        raise Called

    monkeypatch.setattr(fit_module, "run", run)
    with pytest.raises(Called):
        fit_features(
            features(IMAGES, width, phrases, annotated, 0),
            features(VALID, width, phrases, annotated, 1),
            Texts(phrases, CLASS_NAMES, *words, scale=20.0),
            config=config,
            mesh=mesh,
            streamed=config.training.data == "stream",
        )
    return seen[0]


BOTTLENECKS = [
    *map(BottleneckConfig, OBJECTIVES),
    BottleneckConfig(objective="contrastive", positives="classes"),
    BottleneckConfig(objective="gumbel", positives="scores", standardise=False),
    BottleneckConfig(objective="similarity", parameterisation="full"),
    BottleneckConfig(objective="gumbel", variant="paper"),
    BottleneckConfig(objective="contrastive", variant="released", head_bias=False),
    BottleneckConfig(objective="sigmoid", sampler="sigmoid"),
]


@pytest.mark.parametrize("data", ["memory", "stream"])
@pytest.mark.parametrize("annotated", [True, "in part", False])
@pytest.mark.parametrize("concepts", [NARROW, WIDE])
@pytest.mark.parametrize(
    "bottleneck",
    BOTTLENECKS,
    ids=lambda c: f"{c.objective}-{c.variant}-{c.positives}-{c.layer}{'-bias' * c.layer_bias}",
)
def test_the_planned_step_has_the_arguments_of_the_fit(
    bottleneck, concepts, annotated, data, monkeypatch
):
    mesh = make_mesh(4, 2)
    planned = job(concepts, annotated, bottleneck=bottleneck, data=data)
    stage = train_stage(planned, mesh, BATCH)
    state, _, *rest = stage.arguments
    fitted_state, *fitted = first_call(planned, mesh, monkeypatch)
    assert described(state) == described(fitted_state)
    assert described(tuple(rest)) == described(tuple(fitted))


RULES = {
    "adapters": ("lora", ""),
    "image tower": ("full", ""),
    "both towers": ("rules", r"^text\.projection=lora; ^vision\.post=train"),
}


@pytest.mark.parametrize("kind", RULES)
@pytest.mark.parametrize("layer", ["factored", "residual"])
def test_the_planned_finetuning_step_has_the_arguments_of_the_fit(
    kind, layer, tiny_encoder_folder, monkeypatch
):
    mode, rules = RULES[kind]
    recipe = make_recipe(
        tiny_encoder_folder, mode, rules, bottleneck=BottleneckConfig(parameterisation=layer)
    )
    begun, seen = begin(*make_splits(recipe.encoder), recipe), []

    def run(feed, state, mesh, **_):
        unit = next(iter(feed.units(0, 0, feed.steps_per_epoch)))
        seen.append((state, *unit.arguments))

    monkeypatch.setattr(finetune_module, "run", run)
    run_finetune(begun)
    planned = Job(
        encoder=encoder_structure(str(tiny_encoder_folder), "float32"),
        config=recipe.config,
        finetune=FINETUNE,
        rules=recipe.rules,
        lora=recipe.lora,
        train=30,
        valid=11,
        test=0,
        concepts=len(PHRASES),
        classes=len(recipe.classes),
        annotated=True,
    )
    state, _, *rest = finetune_stage(planned, begun.mesh, FINETUNE.batch_size).arguments
    fitted_state, *fitted = seen[0]
    assert described(state) == described(fitted_state)
    ids = "[0].text.ids"  # as long as the longest phrase; a plan takes the whole context
    plan_says, fit_says = described(tuple(rest)), described(tuple(fitted))
    assert (plan_says.pop(ids, None) is None) == (fit_says.pop(ids, None) is None)
    assert plan_says == fit_says
