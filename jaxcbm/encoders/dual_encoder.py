"""The frozen image-text encoder as everything else uses it: pictures and phrases to vectors."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxcbm.distributed.padded_batches import in_batches
from jaxcbm.encoders.image.batch import as_batch
from jaxcbm.encoders.image.preprocess import ImageLike, Preprocess
from jaxcbm.encoders.tokenizer import Tokenizer
from jaxcbm.errors import UserError
from jaxcbm.flat_params import merge_flat

# Rows of a text batch are cut to the shortest of these lengths that holds them.
_TEXT_LENGTHS = (8, 12, 16, 24, 32, 64, 128, 256)
# Where the parameters of the image tower stand in the flat dict.
_IMAGE_TOWER = "vision."
# Two threads decode ahead of the device; PIL releases the interpreter while it works.
_DECODERS = 2


@dataclass(frozen=True, eq=False)
class DualEncoder:
    """Two towers, their weights, and how pictures and phrases enter them.

    Made by `jaxcbm.load_encoder`. The weights are float32; `dtype` is the type of the operands of
    matrix products, whose sums are float32 always.

    Attributes:
        name: what the user called it.
        family: model type, such as "clip".
        config: sizes of the towers.
        graph, params: the module taken apart by `split_flat`.
        preprocess: pictures to uint8 pixels, and their normalisation.
        tokenizer: phrases to ids.
        dtype: "float32" or "bfloat16".
        mesh: where batches are spread over the axis "data"; None for one device.
    """

    name: str
    family: str
    config: Any
    graph: nnx.GraphDef
    params: Mapping[str, jax.Array]
    preprocess: Preprocess
    tokenizer: Tokenizer
    dtype: str = "float32"
    mesh: Mesh | None = None

    def __repr__(self) -> str:
        # Without the content hash, which takes seconds for a large encoder.
        size, numbers = self.image_size, sum(array.size for array in self.params.values())
        return (
            f"DualEncoder {self.name} ({self.family}, {numbers / 1e6:,.1f} M parameters, "
            f"{self.dtype})\n  pictures of {size} x {size} and texts of "
            f"{self.tokenizer.context_length} tokens -> {self.embed_dim} numbers"
        )

    @property
    def embed_dim(self) -> int:
        """E, the width of the shared space."""
        return self.config.embed_dim

    @property
    def image_size(self) -> int:
        """Height and width of the pictures that the image tower takes."""
        return self.config.vision.image_size

    @cached_property
    def logit_scale(self) -> float:
        """s: the factor between cosines and logits."""
        return float(np.exp(np.float64(self.params["logit_scale"])))

    @cached_property
    def logit_bias(self) -> float:
        """b: added to the logits; 0 for families without one."""
        return float(self.params["logit_bias"]) if "logit_bias" in self.params else 0.0

    @cached_property
    def content_hash(self) -> str:
        """sha256 of weights, sizes, tokenizer and preprocessing, hex: the same encoder anywhere."""
        digest = hashlib.sha256()
        described = [self.family, asdict(self.config), _said(self.preprocess)]
        digest.update(json.dumps([*described, self.tokenizer.digest], sort_keys=True).encode())
        for name in sorted(self.params):
            array = np.ascontiguousarray(self.params[name])
            digest.update(f"{name} {array.shape} {array.dtype}\n".encode())
            digest.update(array.reshape(-1).view(np.uint8).data)
        return digest.hexdigest()

    def on_mesh(self, mesh: Mesh) -> "DualEncoder":
        """The same encoder with its weights on every device of a mesh with an axis "data"."""
        placed = jax.device_put(dict(self.params), NamedSharding(mesh, P()))
        return self._otherwise(params=placed, mesh=mesh)

    def with_dtype(self, dtype: str) -> "DualEncoder":
        """The same encoder with operands of another type, see `load_encoder`."""
        return self if dtype == self.dtype else self._otherwise(dtype=dtype)

    def embed_images(
        self, images: ImageLike | Iterable[ImageLike], batch_size: int = 32
    ) -> np.ndarray:
        """Embed pictures.

        Args:
            images: PIL pictures, paths or bytes of any mode and size, or uint8 [N, H, W, 3] of
                NumPy or JAX; a single picture is a batch of one.
            batch_size: pictures a step, over all devices; 16 to 64 is fastest on a CPU.

        Returns:
            float32 [N, E] of unit norm.

        Raises:
            UserError: one of them cannot be read as a picture.
        """
        return self._run_pictures(self.image_tower, images, batch_size)

    def embed_pixels(self, pixels: np.ndarray, batch_size: int = 32) -> np.ndarray:
        """Embed pictures that `preprocess` has already resized and cropped.

        Args:
            pixels: uint8 [N, S, S, 3], S the `image_size`.
            batch_size: pictures a step, over all devices. Every step has this many, the last one
                filled up, so that the tower is compiled once.

        Returns:
            float32 [N, E] of unit norm.
        """
        size = self.image_size
        if pixels.shape[1:] != (size, size, 3) or pixels.dtype != np.uint8:
            raise ValueError(f"{pixels.dtype} {pixels.shape} is not uint8 [N, {size}, {size}, 3]")
        batches = (pixels[i : i + batch_size] for i in range(0, len(pixels), batch_size))
        return self._run(self.image_tower, batches, len(pixels), batch_size)

    def embed_patches(
        self, images: ImageLike | Iterable[ImageLike], batch_size: int = 32
    ) -> np.ndarray:
        """Embed the places of pictures: what `embed_images` would say if it saw a place alone.

        See `TwoTowers.encode_patches`. A patch of a vision transformer has seen all others in the
        layers before the last.

        Args:
            images: as in `embed_images`.
            batch_size: pictures a step, over all devices.

        Returns:
            float32 [N, H', W', E] of unit norm.

        Raises:
            UserError: one of them cannot be read as a picture.
        """
        return self._run_pictures(self._patch_tower, images, batch_size)

    def embed_texts(self, phrases: str | Iterable[str], batch_size: int = 64) -> np.ndarray:
        """Embed phrases; one longer than the context is cut, as the reference cuts it.

        Args:
            phrases: D texts; a single one is a batch of one.
            batch_size: phrases a step, over all devices.

        Returns:
            float32 [D, E] of unit norm.

        Raises:
            UserError: one of them is no text.
        """
        texts = [phrases] if isinstance(phrases, str) else list(phrases)
        if wrong := [d for d, text in enumerate(texts) if not isinstance(text, str)]:
            raise UserError(f"phrases[{wrong[0]}] is {texts[wrong[0]]!r:.60}: give texts")
        ids = self.tokenizer.ids(texts)
        lengths = np.array([self._row_length(len(row)) for row in ids], np.int64)
        embeddings_DxE = np.empty((len(ids), self.embed_dim), np.float32)
        # Where what fills a row does not show, short phrases, which concepts are, go in short
        # rows. The length depends on the phrase alone and not on its company.
        for length in np.unique(lengths):
            (where,) = np.nonzero(lengths == length)
            rows_NxT = self.tokenizer.pad([ids[i] for i in where], int(length))
            size = _even_size(len(where), batch_size)
            batches = (rows_NxT[i : i + size] for i in range(0, len(where), size))
            embeddings_DxE[where] = self._run(self._text_tower, batches, len(where), size)
        return embeddings_DxE

    def scores(
        self, image_embeddings: np.ndarray | jax.Array, text_embeddings: np.ndarray | jax.Array
    ) -> np.ndarray:
        """The encoder's own logits, s e(x) C^T + b.

        Args:
            image_embeddings: float32 [N, E] of unit norm.
            text_embeddings: float32 [D, E] of unit norm.

        Returns:
            float32 [N, D].
        """
        cosines_NxD = _cosines(jnp.asarray(image_embeddings), jnp.asarray(text_embeddings))
        scores_NxD = np.asarray(cosines_NxD) * np.float32(self.logit_scale)
        return scores_NxD + np.float32(self.logit_bias)

    def _otherwise(self, **changes: Any) -> "DualEncoder":
        """The same content, whose hash takes seconds, held or computed in another way."""
        other = replace(self, **changes)
        if "content_hash" in self.__dict__:
            other.__dict__["content_hash"] = self.content_hash
        return other

    def _row_length(self, tokens: int) -> int:
        limit = self.tokenizer.context_length
        if self.tokenizer.full_rows:
            return limit
        return min(limit, next((n for n in _TEXT_LENGTHS if n >= tokens), limit))

    @cached_property
    def _operands(self) -> dict[str, jax.Array]:
        """The weights with the matrices in the compute type: cast once, not at every step."""
        dtype = jnp.dtype(self.dtype)
        # They may be asked for for the first time while a function is traced.
        with jax.ensure_compile_time_eval():
            return {
                name: array.astype(dtype) if name.endswith(".kernel") else array
                for name, array in self.params.items()
            }

    @property
    def image_operands(self) -> dict[str, jax.Array]:
        """What `image_tower` reads, with the matrices in the compute type."""
        return {name: x for name, x in self._operands.items() if name.startswith(_IMAGE_TOWER)}

    @cached_property
    def image_tower(self) -> Callable[..., jax.Array]:
        """(params, pixels [B, S, S, 3]) -> float32 [B, E] of unit norm, jitted.

        The first argument may lack what is not in `image_operands`. Pixels are uint8, or floats
        between 0 and 255.
        """
        graph, dtype, how = self.graph, jnp.dtype(self.dtype), self.preprocess
        unread = {
            name: jax.ShapeDtypeStruct(array.shape, array.dtype)
            for name, array in self.params.items()
            if not name.startswith(_IMAGE_TOWER)
        }

        @jax.jit
        def encode(params: Mapping[str, jax.Array], pixels_BxSxSx3: jax.Array) -> jax.Array:
            pixels_BxSxSx3 = _normalised(pixels_BxSxSx3, how)
            towers = merge_flat(graph, {**unread, **params})
            return towers.encode_image(pixels_BxSxSx3, dtype)[0]

        return encode

    @cached_property
    def _patch_tower(self) -> Callable[..., jax.Array]:
        graph, dtype, how = self.graph, jnp.dtype(self.dtype), self.preprocess

        @jax.jit
        def encode(params: dict[str, jax.Array], pixels_BxSxSx3: jax.Array) -> jax.Array:
            pixels_BxSxSx3 = _normalised(pixels_BxSxSx3, how)
            return merge_flat(graph, params).encode_patches(pixels_BxSxSx3, dtype)

        return encode

    @cached_property
    def _text_tower(self) -> Callable[..., jax.Array]:
        graph, dtype = self.graph, jnp.dtype(self.dtype)

        @jax.jit
        def encode(params: dict[str, jax.Array], ids_BxT: jax.Array) -> jax.Array:
            return merge_flat(graph, params).encode_text(ids_BxT, dtype)[0]

        return encode

    def _run(
        self,
        tower: Callable[..., jax.Array],
        batches: Iterable[np.ndarray],
        count: int,
        batch_size: int,
    ) -> np.ndarray:
        """Embed batches of one compiled size; the device works while the next one is made."""
        # One picture must not cost thirty-two: short inputs round up to a power of two instead.
        size = min(batch_size, 1 << max(count - 1, 0).bit_length())
        embeddings, done = np.empty((count, self.embed_dim), np.float32), 0
        run = partial(tower, self._operands)
        for rows in in_batches(run, batches, size, self.mesh):
            if not done:
                embeddings = np.empty((count, *rows.shape[1:]), np.float32)
            embeddings[done : done + len(rows)] = rows
            done += len(rows)
        return embeddings

    def _run_pictures(
        self,
        tower: Callable[..., jax.Array],
        images: ImageLike | Iterable[ImageLike],
        batch_size: int,
    ) -> np.ndarray:
        pictures = as_batch(images)
        with ThreadPoolExecutor(_DECODERS) as pool:
            batches = (
                np.stack(list(pool.map(self.preprocess, pictures[i : i + batch_size])))
                for i in range(0, len(pictures), batch_size)
            )
            return self._run(tower, batches, len(pictures), batch_size)


def _normalised(pixels_BxSxSx3: jax.Array, how: Preprocess) -> jax.Array:
    pixels_BxSxSx3 = pixels_BxSxSx3.astype(jnp.float32) * jnp.float32(how.scale)
    mean, std = (jnp.asarray(c, jnp.float32)[None, None, None] for c in (how.mean, how.std))
    return (pixels_BxSxSx3 - mean) / std


def _even_size(count: int, most: int) -> int:
    """Rows a step so that the last step is about as full as the others.

    >>> _even_size(68, 64), _even_size(5, 64)
    (40, 8)
    """
    steps = -(-count // most)
    return min(most, -(-count // (8 * steps)) * 8)


def _said(settings: Any) -> dict[str, Any]:
    # What has its default is left out, so that a new setting leaves the old hashes alone.
    return {f.name: v for f in fields(settings) if (v := getattr(settings, f.name)) != f.default}


@jax.jit
def _cosines(images_NxE: jax.Array, texts_DxE: jax.Array) -> jax.Array:
    return jnp.matmul(
        images_NxE.astype(jnp.float32),
        texts_DxE.astype(jnp.float32).T,
        precision=jax.lax.Precision.HIGHEST,
    )
