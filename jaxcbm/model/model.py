"""A fitted concept bottleneck: predict, explain, intervene."""

import dataclasses
import functools
import importlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax.sharding import Mesh
from PIL import Image

from jaxcbm.bottleneck.config import BottleneckConfig
from jaxcbm.bottleneck.model import Bottleneck, build_bottleneck
from jaxcbm.bottleneck.scores import InputMap, apply_map, concept_scores
from jaxcbm.bottleneck.sparse.choice import SparseChoice
from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.concepts.find import not_among
from jaxcbm.data.features import Features
from jaxcbm.data.labels import some_of
from jaxcbm.data.readable import left_out_by_readable
from jaxcbm.distributed.padded_batches import in_batches
from jaxcbm.distributed.placement import replicate
from jaxcbm.encoders.dual_encoder import DualEncoder
from jaxcbm.encoders.finetune.finetuned import FinetunedWeights, apply_finetuned, group
from jaxcbm.encoders.image.batch import as_batch
from jaxcbm.encoders.image.open import ImageLike
from jaxcbm.encoders.load import load_encoder
from jaxcbm.errors import UserError
from jaxcbm.hub import PREFIX as HUB_PREFIX
from jaxcbm.model.batch_inference import (
    PictureBatch,
    batch_inference,
    choose_batch_size,
    read_batches,
)
from jaxcbm.model.calibration import Calibration
from jaxcbm.model.concept_map import How, concept_maps
from jaxcbm.model.corrections import correct, known_values
from jaxcbm.model.edits import Edit
from jaxcbm.model.explain import explain, explain_prediction
from jaxcbm.model.explanation import Explanation
from jaxcbm.model.familiarity import Familiarity
from jaxcbm.model.hub.pretrained import load_pretrained, push_to_hub, save_pretrained
from jaxcbm.model.model_file import load_fields, save_fields
from jaxcbm.model.prediction import Prediction, joined
from jaxcbm.model.texts import Texts

if TYPE_CHECKING:
    from jaxcbm.explore.widget import ExplorerWidget

# What the concept embeddings are called among the weights.
CONCEPTS = "concept_embeddings"


@dataclasses.dataclass(frozen=True, eq=False)
class Model:
    """Encoder, phrases and weights of a concept bottleneck.

    Attributes:
        config: structure of the bottleneck.
        params: flat dict; `cbl.kernel` [I, D], `head.kernel` [D, K], `head.bias` [K].
        input_map: image embeddings -> what the Concept Bottleneck Layer reads.
        concepts: the D phrases.
        concept_embeddings: C, float32 [D, E], unit norm.
        classes: K names.
        encoder_name: what to load the encoder by.
        encoder_hash: SHA-256 of its content, of the finetuned one's if it was finetuned; another
            encoder is refused.
        logit_scale: s of psi = s C e + b.
        logit_bias: b.
        encoder: the encoder itself; loaded by name when first needed if None.
        encoder_image_size: height and width of the pictures that it takes; 0 for the checkpoint's
            own.
        encoder_folder: a copy of the encoder that lies beside the model; None: load it by name.
        metrics: how the head was chosen.
        finetuned: what end-to-end training changed of the encoder of that name; None if it is
            frozen.
        sparse_path: the path that the head was chosen on; None for a trained head, or for a model
            that was saved without it.
        calibration: what its logits and activations mean; None for a model that was saved without.
        familiarity: when not to trust it; None for a model that was saved without.
        edits: what was changed of it after the fit, oldest first.
    """

    config: BottleneckConfig
    params: Mapping[str, np.ndarray]
    input_map: InputMap
    concepts: ConceptSet
    concept_embeddings: np.ndarray
    classes: tuple[str, ...]
    encoder_name: str
    encoder_hash: str
    logit_scale: float
    logit_bias: float
    encoder: DualEncoder | None = None
    encoder_image_size: int = 0
    encoder_folder: Path | None = None
    metrics: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    finetuned: FinetunedWeights | None = None
    sparse_path: SparseChoice | None = None
    calibration: Calibration | None = None
    familiarity: Familiarity | None = None
    edits: tuple[Edit, ...] = ()

    def __repr__(self) -> str:
        config, head_KxD = self.config, self.head
        used = f"{np.any(head_KxD, axis=0).sum()} used, {np.count_nonzero(head_KxD, 1).mean():.1f}"
        lines = [
            f"Model of {some_of(self.classes, 'classes')}",
            f"concepts: {len(self.concepts)} ({self.concepts.content_hash[:8]}), {used} a class",
            f"layer: {config.objective}, {config.variant}, {config.parameterisation}; "
            f"sampler: {config.sampler}",
            f"encoder: {self.encoder_name} ({self.encoder_hash[:8]}), "
            f"{'frozen' if self.finetuned is None else 'finetuned'}",
        ]
        if isinstance(top1 := self.metrics.get("chosen_top1"), float):
            lines.append(f"validation top-1: {top1:.1%}")
        lines += [f"edited: {edit}" for edit in self.edits]
        return "\n  ".join(lines)

    @property
    def head(self) -> np.ndarray:
        """F, float32 [K, D]."""
        return np.asarray(self.params["head.kernel"]).T

    def class_weights(self, label: str, k: int | None = 10) -> list[tuple[str, float]]:
        """What a class is recognised by: phrases with their weights in F, the strongest first.

        A concept that is there speaks for the class where its weight is positive and against it
        where it is negative; `explain` says what each does in a picture.

        Args:
            label: one of `classes`.
            k: how many at most; weights of 0 are left out. None: all others.

        Raises:
            UserError: no such class.
        """
        if label not in self.classes:
            raise not_among(label, self.classes, "a class")
        weights_D = self.head[self.classes.index(label)]
        order = np.argsort(-np.abs(weights_D), kind="stable")[:k].tolist()
        return [(self.concepts.phrases[d], float(weights_D[d])) for d in order if weights_D[d]]

    @functools.cached_property
    def bottleneck(self) -> Bottleneck:
        """The structure that `params` fill."""
        inputs = self.input_map.bias.shape[0]
        shape = (inputs, len(self.concepts), len(self.classes))
        return build_bottleneck(self.config, *shape)[0]

    @functools.cached_property
    def loaded_encoder(self) -> DualEncoder:
        """The encoder, loaded when first asked for.

        Raises:
            UserError: it cannot be found, or it is not what this model was trained on.
        """
        encoder = self.encoder
        if encoder is None:
            size = self.encoder_image_size or None
            encoder = load_encoder(self.encoder_folder or self.encoder_name, image_size=size)
            encoder = (
                encoder if self.finetuned is None else apply_finetuned(encoder, self.finetuned)
            )
        if encoder.content_hash != self.encoder_hash:
            raise UserError(
                f"encoder {self.encoder_name}: its content is not what this model was trained on "
                f"({encoder.content_hash[:12]} instead of {self.encoder_hash[:12]}): "
                "restore that encoder or train again"
            )
        return encoder

    def on(self, mesh: Mesh | None = None, dtype: str = "float32") -> "Model":
        """The same model on all devices of a mesh, or with other numbers in its encoder.

        Args:
            mesh: with an axis `data`, over which every batch is spread; the weights lie on each
                device. None: where the encoder is.
            dtype: type of the operands of the encoder's matrix products, "float32" or "bfloat16";
                what follows the encoder is float32.
        """
        encoder = self.loaded_encoder.with_dtype(dtype)
        return dataclasses.replace(self, encoder=encoder if mesh is None else encoder.on_mesh(mesh))

    @functools.cached_property
    def weights(self) -> dict[str, jax.Array]:
        """All arrays that `apply` reads, on their devices, as one flat dict.

        `encoder.PATH` are those of the image tower, its matrices in the compute type, with what was
        finetuned of it and adapters folded in; `input_map.kernel` (not where it is the identity)
        and `input_map.bias`; `bottleneck.cbl.kernel`, `bottleneck.head.kernel` and what else is in
        `params`; `concept_embeddings`, which `concept_scores` alone come from.
        """
        tower = self.loaded_encoder.image_operands
        return {**{f"encoder.{name}": x for name, x in tower.items()}, **self._own_weights}

    @functools.cached_property
    def _own_weights(self) -> dict[str, jax.Array]:
        """All but the encoder's, which need not be loaded for them."""
        own: dict[str, Any] = {f"bottleneck.{name}": x for name, x in self.params.items()}
        if self.input_map.kernel is not None:
            own["input_map.kernel"] = self.input_map.kernel
        own |= {"input_map.bias": self.input_map.bias, CONCEPTS: self.concept_embeddings}
        # They may be asked for for the first time while a function is traced.
        with jax.ensure_compile_time_eval():
            return jax.device_put(own) if self._mesh is None else replicate(own, self._mesh)

    @property
    def _mesh(self) -> Mesh | None:
        return None if self.encoder is None else self.encoder.mesh

    def apply(
        self, weights: Mapping[str, jax.Array], pixels_BxSxSx3: jax.Array | np.ndarray
    ) -> Prediction:
        """From pixels to everything the model says: a pure function of two arguments.

        `jax.jit`, `jax.vmap`, `jax.grad` and `jax.shard_map` work on it; docs/inference.md shows
        each. The scale and the bias of `concept_scores` are constants.

        Args:
            weights: this model's, or others of the same names and shapes.
            pixels_BxSxSx3: what the encoder's `preprocess` gives, uint8, or floats between 0 and
                255, by which it can be differentiated.

        Returns:
            A `Prediction`, which is a pytree, of B images.

        Raises:
            ValueError: pixels of another shape.

        >>> from jaxcbm.model.random_model import random_model
        >>> model = random_model(load_encoder("jaxcbm/tiny"))
        >>> out = jax.jit(model.apply)(model.weights, np.zeros((2, 64, 64, 3), np.uint8))
        >>> out.class_logits.shape, len(out.labels)
        ((2, 3), 2)
        """
        encoder, shape = self.loaded_encoder, pixels_BxSxSx3.shape
        if shape[1:] != (encoder.image_size, encoder.image_size, 3):
            raise ValueError(
                f"pixels of shape {shape}: give [B, {encoder.image_size}, "
                f"{encoder.image_size}, 3], what the encoder's `preprocess` gives"
            )
        embeddings_BxE = encoder.image_tower(group(weights, "encoder"), pixels_BxSxSx3)
        own = {name: x for name, x in weights.items() if not name.startswith("encoder.")}
        return self._read(own, embeddings_BxE)

    @functools.cached_property
    def _read(self):
        bottleneck, tau = self.bottleneck.apply, self.config.tau_end

        @jax.jit
        def read(weights: Mapping[str, jax.Array], embeddings_BxE: jax.Array) -> Prediction:
            mapping = InputMap(weights.get("input_map.kernel"), weights["input_map.bias"])
            inputs_BxI = apply_map(mapping, embeddings_BxE)
            logits_BxK, out = bottleneck(group(weights, "bottleneck"), inputs_BxI, tau=tau)
            scale = self.logit_scale, self.logit_bias
            return Prediction(
                class_logits=logits_BxK,
                concept_activations=out.concept_activations,
                concept_logits=out.concept_logits,
                concept_scores=concept_scores(embeddings_BxE, weights[CONCEPTS], *scale),
                image_embeddings=embeddings_BxE,
                classes=self.classes,
                calibration=self.calibration,
                trust=self.familiarity,
            )

        return read

    def predict_embeddings(self, embeddings_NxE: np.ndarray, batch_size: int = 1024) -> Prediction:
        """Predict from image embeddings.

        Args:
            embeddings_NxE: unit norm, from this model's encoder.
            batch_size: rows in one compiled call; the last batch is padded.

        Raises:
            UserError: rows of another width, or with NaN or infinity.
        """
        rows = np.asarray(embeddings_NxE, np.float32)
        if rows.shape[1:] != self.concept_embeddings.shape[1:]:
            width = self.concept_embeddings.shape[1]
            raise UserError(f"embeddings of shape {list(rows.shape)}: give [N, {width}]")
        if not (finite_N := np.isfinite(rows).all(axis=1)).all():
            raise UserError(f"embeddings[{np.argmin(finite_N)}] holds NaN or infinity")
        size = min(batch_size, max(len(rows), 1))
        batches = (rows[start : start + size] for start in range(0, max(len(rows), 1), size))
        read = functools.partial(self._read, self._own_weights)
        return joined(in_batches(read, batches, size, self._mesh))

    def predict(
        self, images: ImageLike | Iterable[ImageLike] | Features, batch_size: int | None = None
    ) -> Prediction:
        """Predict from images.

        Args:
            images: whatever `DualEncoder.embed_images` takes: PIL pictures, paths, bytes, uint8
                [N, H, W, 3] of NumPy or JAX, an `ImageSet`, or a single picture; or features by
                this model's encoder.
            batch_size: pictures a step, over all devices; None: see `choose_batch_size`.

        Returns:
            A `Prediction` of N images; N is 1 for a single picture.

        Raises:
            UserError: one of them cannot be read as a picture; `jaxcbm.readable` leaves such out.
        """
        if isinstance(images, Features):
            return self.predict_embeddings(images.as_array())
        pictures = as_batch(images)
        if not len(pictures):
            return self.predict_embeddings(np.zeros((0, self.concept_embeddings.shape[1])))
        batch_size = batch_size or choose_batch_size(self, len(pictures))
        items = ((i, functools.partial(pictures.__getitem__, i)) for i in range(len(pictures)))
        batches = map(_whole, read_batches(items, self.loaded_encoder.preprocess, batch_size))
        return joined(found for _, found in batch_inference(self, batches, batch_size))

    def explain(
        self,
        image: ImageLike,
        k: int = 10,
        target: str | None = None,
        against: str | None = None,
        maps: bool = False,
        true: str | None = None,
        annotations: Mapping[str, float] | None = None,
    ) -> Explanation:
        """Why the model says what it says about one image, and why nothing else.

        Args:
            image: a PIL picture, a path, bytes, or an array [H, W, 3].
            k: contributions to keep, largest first in absolute value.
            target: the class to explain; the predicted one by default.
            against: the class to tell it from (`Explanation.contrast`); by default the runner-up,
                or the predicted class where another one is explained.
            maps: whether to show where the concepts are that are there; see `concept_maps`.
            true: the picture's class where you know it, to be shown beside; by default that of the
                folder in which a file lies, if it has the name of a class.
            annotations: phrase -> 1 where it is in the picture and 0 where it is not, NaN unknown;
                reasons that they deny are called false.

        Raises:
            UserError: no such class, twice the same, no readable picture, or k below 1.
        """
        return explain(self, image, k, target, against, maps, true, annotations)

    def explain_prediction(
        self,
        picture: Image.Image,
        pixels_SxSx3: np.ndarray,
        prediction: Prediction,
        k: int = 10,
        target: str | None = None,
        against: str | None = None,
    ) -> Explanation:
        """Why the model has said what it says about one image, as `explain` does.

        Args:
            picture: as it is shown.
            pixels_SxSx3: what the encoder's `preprocess` made of it.
            prediction: of this image alone.
            k: as for `explain`, like `target` and `against`.

        Raises:
            UserError: no such class, twice the same, or k below 1.
        """
        return explain_prediction(self, picture, pixels_SxSx3, prediction, k, target, against)

    def intervene(
        self,
        image: ImageLike | Iterable[ImageLike] | Features | Prediction,
        activations: Mapping[str, float | bool | str],
        *,
        carry: bool = False,
    ) -> Prediction:
        """Predict with some concept activations set by hand.

        Args:
            image: a picture, whatever else `predict` takes, or what this model predicted of it.
            activations: phrase -> "present" or "absent" (True and False mean the same): the mean
                activation of train images with or without the concept; or a value in the units of
                `concept_activations`, of which 0.0 is one and not absence.
            carry: whether this is a correction, from which the model learns about the concepts that
                go with these (`jaxcbm.model.corrections`), and not a question of what would be if
                nothing but these were otherwise.

        Raises:
            UserError: a phrase that is not in the concept set, or a value that is none of these; a
                model without a calibration knows no absence, and has nothing to carry by.
        """
        columns = self.concepts.columns(activations)
        before = image if isinstance(image, Prediction) else self.predict(image)
        values = known_values(self.calibration, columns, activations)
        if not carry:
            changed_NxD = before.concept_activations.copy()
            changed_NxD[:, columns] = values
        elif self.calibration is None:
            raise UserError("this model was saved without a calibration: train it again to carry")
        else:
            changed_NxD = correct(before, self.calibration, columns, values)
        logits = changed_NxD @ self.head.T + self.params.get("head.bias", 0.0)
        return dataclasses.replace(
            before, class_logits=logits.astype(np.float32), concept_activations=changed_NxD
        )

    def explore(
        self, images: ImageLike | Iterable[ImageLike], *, maps: int = 0
    ) -> "ExplorerWidget":
        """The explorer of some pictures as a widget in Jupyter or Colab (docs/explorer.md).

        Args:
            images: whatever `predict` takes but features; an `ImageSet` tells classes, and so does
                a file's folder that has the name of one.
            maps: the first so many pictures have concept maps; each takes 170 pictures through the
                encoder.

        Returns:
            A widget, whose `corrections` are what is set in it by hand.

        Raises:
            UserError: the extra `widget` is not installed, or no readable picture.
        """
        # By its name: the explorer stands on models, and this shortcut alone leads up to it.
        return importlib.import_module("jaxcbm.explore.widget").ExplorerWidget(self, images, maps)

    def concept_maps(
        self, image: ImageLike, phrases: Sequence[str], how: How = "occlusion"
    ) -> np.ndarray:
        """Where in a picture some concepts are, by their logits.

        Args:
            image: whatever `explain` takes.
            phrases: P of the concepts.
            how: `occlusion` hides one place after the other and says by how much that lowers the
                concept: hundreds of pictures through the encoder; `patches` asks the encoder what
                it would say of each place alone (`DualEncoder.embed_patches`): one picture, and
                less to the point (docs/concept_maps.md).

        Returns:
            float32 [P, H', W'], over what the encoder sees of the picture (its crop).

        Raises:
            UserError: a phrase that is not in the concept set, or no readable picture.
        """
        return concept_maps(self, image, phrases, how)

    def save(self, folder: Path | str) -> None:
        """Write `model.json` and `model.safetensors`; the folder appears whole or not at all.

        The frozen encoder is stored as its name and content hash, not as a copy; what was finetuned
        of it, as `encoder.safetensors`; the path of sparse heads, as `sparse_path.safetensors`; the
        calibration, as `calibration.safetensors`, and the familiarity, as
        `familiarity.safetensors`.
        """
        save_fields(self, folder)

    def save_pretrained(
        self,
        folder: Path | str,
        *,
        with_encoder: bool = False,
        metrics: Mapping[str, Any] | None = None,
        licence: str = "",
    ) -> None:
        """Write the model with a card, README.md, as a repository of the Hugging Face hub holds it.

        Args:
            folder: for the model alone; one that is there is replaced as a whole.
            with_encoder: add a copy of the frozen encoder, so that no other name is needed.
            metrics: content of metrics.json, for the card; without, it has what the model knows.
            licence: as the hub names them, such as "apache-2.0"; "" leaves it unsaid.

        Raises:
            UserError: other things lie in the folder, or the metrics are of another model.
        """
        save_pretrained(self, folder, with_encoder=with_encoder, metrics=metrics, licence=licence)

    def push_to_hub(
        self,
        name: str,
        *,
        private: bool | None = None,
        token: str | None = None,
        revision: str | None = None,
        with_encoder: bool = False,
        metrics: Mapping[str, Any] | None = None,
        licence: str = "",
    ) -> str:
        """Push what `save_pretrained` writes, as one commit; the repository is made if need be.

        Args:
            name: "owner/name".
            private: whether a new repository is; None for its owner's usual.
            token: by default that of `HF_TOKEN` or `hf auth login`.
            revision: a branch, made if need be; None for the main one.
            with_encoder: see `save_pretrained`; an encoder that only this machine has needs it.
            metrics: see `save_pretrained`.
            licence: see `save_pretrained`.

        Returns:
            The commit, which `from_pretrained` takes as a revision.

        Raises:
            UserError: no such name, the hub refuses, or it cannot be reached.
        """
        return push_to_hub(
            self,
            name,
            private=private,
            token=token,
            revision=revision,
            with_encoder=with_encoder,
            metrics=metrics,
            licence=licence,
        )

    @classmethod
    def from_pretrained(
        cls,
        folder_or_name: Path | str,
        *,
        revision: str | None = None,
        token: str | None = None,
        cache_dir: Path | str | None = None,
        encoder: DualEncoder | str | Path | None = None,
    ) -> "Model":
        """Load a model from a folder, or from the Hugging Face hub by its name.

        Args:
            folder_or_name: as for `load_model`, or "owner/name", with or without `hf-hub:` before
                it and `@REVISION` behind. A folder of that name goes first.
            revision: a branch, a tag or a commit.
            token: for a private one; by default that of `HF_TOKEN` or `hf auth login`.
            cache_dir: where downloads are kept; by default in the hub client's own cache.
            encoder: as for `load_model`.

        Raises:
            UserError: no such model, files that are not what was pushed, or the hub cannot be
                reached and its cache has no copy.
        """
        return cls(**load_pretrained(folder_or_name, revision, token, cache_dir, encoder))


def _whole(batch: PictureBatch) -> PictureBatch:
    if batch.skipped:
        raise left_out_by_readable(batch.skipped[0][1])
    return batch


def make_model(
    encoder: DualEncoder,
    concepts: ConceptSet,
    texts: Texts,
    config: BottleneckConfig,
    params: Mapping[str, Any],
    input_map: InputMap,
    finetuned: FinetunedWeights | None = None,
) -> Model:
    """A model around fitted weights.

    Args:
        encoder: what the weights were fitted on, finetuned or not.
        concepts: the D phrases, with their origins.
        texts: their embeddings by this encoder, and the classes.
        config: structure of the bottleneck.
        params: of the bottleneck.
        input_map: image embeddings -> what the Concept Bottleneck Layer reads.
        finetuned: what end-to-end training changed of the encoder.
    """
    return Model(
        config=config,
        params=params,
        input_map=jax.tree.map(np.asarray, input_map),
        concepts=concepts,
        concept_embeddings=np.asarray(texts.concepts_DxE),
        classes=texts.classes,
        encoder_name=encoder.name,
        encoder_image_size=encoder.image_size,
        encoder_hash=encoder.content_hash,
        logit_scale=texts.scale,
        logit_bias=texts.bias,
        encoder=encoder,
        finetuned=finetuned,
    )


def load_model(folder: Path | str, encoder: DualEncoder | str | Path | None = None) -> Model:
    """Load a model from a work directory, from a folder that it was saved to, or from the hub.

    Args:
        folder: of a finished run, an exported or saved folder, or `hf-hub:owner/name`
            (`Model.from_pretrained` takes more).
        encoder: what it was trained on, or where that lies now; by default it is loaded by the name
            that it had, when first needed.

    Raises:
        UserError: no finished model there, one of another format, or no such encoder.
    """
    if str(folder).startswith(HUB_PREFIX):
        return Model.from_pretrained(folder, encoder=encoder)
    return Model(**load_fields(folder, encoder))
