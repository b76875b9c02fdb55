"""Small uneven problems whose results must not depend on the devices; each as a flat dict."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest import mock

import jax
import numpy as np
from jax.sharding import Mesh

from jaxcbm.bottleneck.config import BottleneckConfig
from jaxcbm.bottleneck.search import concept_search
from jaxcbm.bottleneck.sparse.path import elastic_net_path
from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.data.features import Features
from jaxcbm.distributed.mesh import make_mesh
from jaxcbm.distributed.placement import fetch, place_rows, replicate
from jaxcbm.distributed.preemption import Preempted
from jaxcbm.encoders.load import load_encoder
from jaxcbm.model.batch_inference import batch_inference, read_batches
from jaxcbm.model.prediction import joined
from jaxcbm.model.random_model import random_model
from jaxcbm.model.texts import embed_words
from jaxcbm.training.config import FitConfig, MeshConfig, SparseHeadConfig, TrainingConfig
from jaxcbm.training.finetune.fit import finetune_splits
from jaxcbm.training.fit import fit
from jaxcbm.training.sweep.sweep import sweep

sys.path.insert(0, str(Path(__file__).parents[1] / "training" / "finetune"))
from finetune_problem import make_recipe, make_splits

Flat = dict[str, np.ndarray]
# Nothing divides by anything: not the images, the concepts, the classes, nor the batches. Only
# a number of concepts that divides is split over `model`, and has problems of its own.
IMAGES, VALID, WIDTH, CONCEPTS, CLASSES, BATCH = 163, 37, 16, 13, 5, 31
EVEN_CONCEPTS = 16
PAIRED = {"objective": "contrastive", "parameterisation": "residual"}


def rows(seed: int, *shape: int) -> np.ndarray:
    """Random rows of unit length, which have something in common, as embeddings do."""
    found = np.random.default_rng(seed).standard_normal(shape, np.float32) + np.float32(0.3)
    return found / np.linalg.norm(found, axis=-1, keepdims=True)


def features(seed: int, count: int) -> Features:
    """Embeddings whose labels a linear rule gives."""
    embeddings = rows(seed, count, WIDTH)
    labels = np.argmax(embeddings @ rows(0, WIDTH, CLASSES), axis=1)
    return Features.from_arrays(embeddings, labels, [f"class {i}" for i in range(CLASSES)])


def config(mesh: MeshConfig, **bottleneck) -> FitConfig:
    """Four epochs of five steps, and a short path."""
    return FitConfig(
        bottleneck=BottleneckConfig(**bottleneck),
        training=TrainingConfig(epochs=4, batch_size=BATCH, checkpoint_every=100),
        sparse_head=SparseHeadConfig(enabled=False),
        mesh=mesh,
    )


def concepts(count: int = CONCEPTS) -> ConceptSet:
    """So many phrases."""
    return ConceptSet.from_phrases([f"a red bird number {i}" for i in range(count)])


def fitted(
    mesh: MeshConfig,
    folder: Path,
    workdir: Path | None = None,
    count: int = CONCEPTS,
    **bottleneck,
) -> Flat:
    """`jaxcbm.fit`: parameters and predictions."""
    model = fit(
        features(1, IMAGES),
        features(2, VALID),
        encoder=load_encoder(folder),
        concepts=concepts(count),
        config=config(mesh, **bottleneck),
        workdir=workdir,
    )
    logits = model.predict_embeddings(rows(3, 7, WIDTH)).class_logits
    return {**model.params, "logits": np.asarray(logits)}


def sparse(mesh: MeshConfig, folder: Path) -> Flat:
    """`jaxcbm.fit` with the sparse head that it chooses."""
    how = config(mesh)
    # Further down the path, concepts that are nearly the same share weights as rounding has it.
    head = SparseHeadConfig(path_length=8, tolerance=1e-3, nec=8.0)
    how = replace(how, sparse_head=head)
    encoder = load_encoder(folder)
    parts = features(1, IMAGES), features(2, VALID)
    model = fit(*parts, encoder=encoder, concepts=concepts(), config=how)
    return {**model.params, "nec": np.asarray(model.metrics["path"]["nec"])}


def swept(mesh: MeshConfig, folder: Path) -> Flat:
    """`jaxcbm.sweep`: two seeds, three rates, parameters of each."""
    train = features(1, IMAGES)
    tiles = sweep(
        train,
        features(2, VALID),
        embed_words(load_encoder(folder), concepts(), train.classes),
        mesh=make_mesh(mesh.data, mesh.model),
        grid={"training.cbl.learning_rate": (1e-3, 3e-3, 1e-2), "training.seed": (0, 1)},
        config=config(mesh),
        keep_params=True,
    )
    outcomes = [outcome for tile in tiles for outcome in tile]
    return {
        f"{outcome.key}.{name}": value
        for outcome in outcomes
        for name, value in {"loss": outcome.valid_loss, **(outcome.params or {})}.items()
    }


def path(mesh: MeshConfig) -> Flat:
    """`elastic_net_path` on rows that lie over `data`, with the weights of padding zero."""
    on, rng = make_mesh(mesh.data, mesh.model), np.random.default_rng(4)
    activations = rng.standard_normal((IMAGES, CONCEPTS), np.float32)
    noisy = activations @ rng.standard_normal((CONCEPTS, CLASSES))
    noisy += 3 * rng.gumbel(size=noisy.shape)
    placed = (place_rows(x, on) for x in (activations, np.argmax(noisy, 1).astype(np.int32)))
    weights = place_rows(np.ones(IMAGES, np.float32), on)
    found = fetch(elastic_net_path(*placed, CLASSES, path_length=8, sample_weights=weights))
    names = ("weights", "biases", "objective", "lambdas", "iterations")
    return {name: getattr(found, name) for name in names}


def searched(mesh: MeshConfig) -> Flat:
    """`concept_search` on images that lie over `data`, for all similarities."""
    on = make_mesh(mesh.data, mesh.model)
    images = place_rows(rows(1, IMAGES, WIDTH), on)
    texts = replicate((rows(2, CLASSES, WIDTH), rows(3, CONCEPTS, WIDTH)), on)
    return {
        f"{similarity}.{normalize}": fetch(
            concept_search(images, *texts, similarity=similarity, normalize=normalize).scores
        )[:IMAGES]
        for similarity, normalize in (("cosine", "none"), ("cubed", "columns"))
    }


def predicted(folder: Path, mesh: Mesh | None, first: int = 0, last: int = IMAGES) -> Flat:
    """`batch_inference` on some of the pictures, through the image tower and all that follows."""
    model = random_model(load_encoder(folder)).on(mesh)
    noise = np.random.default_rng(5).integers(0, 256, (IMAGES, 20, 24, 3), np.uint8)
    pictures = enumerate(noise[first:last], start=first)
    batches = read_batches(pictures, model.loaded_encoder.preprocess, BATCH)
    found = list(batch_inference(model, batches, BATCH))
    names = [name for batch, _ in found for name in batch.names]
    said = joined(prediction for _, prediction in found)
    return {"names": np.array(names), "labels": said.label_ids, "logits": said.class_logits}


def finetuned(mesh: MeshConfig, folder: Path, workdir: Path) -> Flat:
    """End-to-end training: adapters on both towers and whole parameters of the image tower."""
    rules = r"^vision\..*\.(q|out|up|down)\.kernel=lora; ^text\.projection=lora; ^vision\.=train"
    recipe = make_recipe(folder, "rules", rules)
    recipe = recipe._replace(config=replace(recipe.config, mesh=mesh))
    model = finetune_splits(*make_splits(recipe.encoder), recipe, workdir)
    assert model.finetuned is not None
    return {**model.params, **model.finetuned.arrays}


@contextmanager
def stop_at(call: int) -> Iterator[None]:
    """Within, the run is asked to stop when it asks for this time; it must."""
    calls = iter(range(1, 10**9))
    stopped = False
    with mock.patch("jaxcbm.distributed.preemption.requested", lambda _: next(calls) == call):
        try:
            yield
        except Preempted:
            stopped = True
    assert stopped


def configure() -> None:
    """What tests/conftest.py asks of all numerics."""
    jax.config.update("jax_numpy_rank_promotion", "raise")
    jax.config.update("jax_numpy_dtype_promotion", "strict")
