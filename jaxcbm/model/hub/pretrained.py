"""A model on the Hugging Face hub: written as a folder with a card, pushed, and fetched by name.

A repository holds safetensors and JSON, and the card. Of what somebody else pushed, only the files
of `MODEL_FILES` are fetched, and they are read as any saved model is: with their hashes.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jaxcbm
from jaxcbm.atomic import atomic_folder
from jaxcbm.encoders.checkpoint.copy import copy_encoder
from jaxcbm.encoders.dual_encoder import DualEncoder
from jaxcbm.encoders.image.preprocess import PREPROCESS_FILES
from jaxcbm.encoders.load import named_everywhere
from jaxcbm.encoders.open_clip.config import OPEN_CLIP_CONFIG
from jaxcbm.encoders.tokenizer import TOKENIZER_FILES
from jaxcbm.errors import UserError
from jaxcbm.hub import NOT_PUSHED, HubName, explained, fetch, parse_hub_name
from jaxcbm.model.hub.card import model_card
from jaxcbm.model.model_file import ENCODER_FOLDER, PARTS, load_fields

if TYPE_CHECKING:
    from jaxcbm.model.model import Model

CARD_FILE = "README.md"
_ENCODER_FILES = ("config.json", OPEN_CLIP_CONFIG, *PREPROCESS_FILES, *TOKENIZER_FILES)
# Everything that is fetched of a repository, and replaced by the next push.
MODEL_FILES = (
    *("model.json", "model.safetensors", *PARTS),
    *(f"{ENCODER_FOLDER}/{name}" for name in (*_ENCODER_FILES, "*.safetensors")),
)


def save_pretrained(
    model: "Model",
    folder: Path | str,
    *,
    with_encoder: bool = False,
    metrics: Mapping[str, Any] | None = None,
    licence: str = "",
    name: str = "",
) -> None:
    """See `Model.save_pretrained`; `name` is what the card calls the repository."""
    folder = Path(folder).expanduser()
    known = {Path(file).parts[0] for file in MODEL_FILES} | {CARD_FILE}
    if folder.exists() and (
        not folder.is_dir() or not {each.name for each in folder.iterdir()} <= known
    ):
        raise UserError(f"{folder}: it holds other things than a model; name a folder of its own")
    told = _portable(model, with_encoder)
    about = {"licence": licence, "name": name, "with_encoder": with_encoder}
    card = model_card(told, metrics or {}, **about)
    with atomic_folder(folder) as temporary:
        told.save(temporary)
        if with_encoder:
            source = model.encoder_folder or model.encoder_name
            copy_encoder(source, temporary / ENCODER_FOLDER)
        (temporary / CARD_FILE).write_text(card, encoding="utf-8")


def push_to_hub(
    model: "Model",
    name: str,
    *,
    private: bool | None,
    token: str | None,
    revision: str | None,
    with_encoder: bool,
    metrics: Mapping[str, Any] | None,
    licence: str,
) -> str:
    """See `Model.push_to_hub`."""
    from huggingface_hub import HfApi

    parsed = parse_hub_name(name)
    if parsed is None or (parsed.revision and revision):
        raise UserError(f"{name!r} is no name on the hub: give OWNER/NAME")
    if not with_encoder and (model.encoder_folder or not named_everywhere(model.encoder_name)):
        raise UserError(
            f"{parsed.repository}: the encoder {Path(model.encoder_name).name} is a folder that "
            "nobody else has: push a copy of it with the model (with_encoder=True, or "
            "--with-encoder)"
        )
    where = HubName(parsed.repository, revision or parsed.revision)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        what = {"with_encoder": with_encoder, "metrics": metrics, "licence": licence}
        save_pretrained(model, folder, name=str(where), **what)
        client = HfApi(token=token, library_name="jaxcbm", library_version=jaxcbm.__version__)
        with explained(where, token, NOT_PUSHED):
            client.create_repo(where.repository, private=private, exist_ok=True)
            if where.revision:
                client.create_branch(where.repository, branch=where.revision, exist_ok=True)
            commit = client.upload_folder(
                repo_id=where.repository,
                folder_path=folder,
                revision=where.revision,
                commit_message=f"A model of {len(model.classes)} classes by jaxcbm",
                delete_patterns=list(MODEL_FILES),
            )
    return commit.oid


def fetch_model(
    name: HubName, token: str | None = None, cache_dir: Path | str | None = None
) -> Path:
    """The folder of a model on the hub, in the client's cache; fetched if it is not there yet.

    Raises:
        UserError: no such repository or revision, one without a model, or the hub cannot be reached
            and the cache has no copy.
    """
    from huggingface_hub import snapshot_download

    def download(files: list[str] | None, **how: Any) -> str:
        if files is not None and "model.json" not in files:
            raise UserError(f"{name}: the hub has it, but no model of jaxcbm in it (no model.json)")
        return snapshot_download(
            name.repository,
            revision=name.revision,
            allow_patterns=list(MODEL_FILES),
            library_name="jaxcbm",
            library_version=jaxcbm.__version__,
            token=token,
            cache_dir=cache_dir,
            **how,
        )

    return fetch(name, download, token)


def _portable(model: "Model", with_encoder: bool) -> "Model":
    """The same model without the folders of this machine in what it says."""
    provenance = dict(model.concepts.provenance)
    if Path(source := str(provenance.get("source", ""))).is_absolute():
        provenance["source"] = Path(source).name
    concepts = replace(model.concepts, provenance=provenance)
    name = model.encoder_name
    if with_encoder and not named_everywhere(name):
        name = Path(name).name
    return replace(model, concepts=concepts, encoder_name=name)


def load_pretrained(
    folder_or_name: Path | str,
    revision: str | None,
    token: str | None,
    cache_dir: Path | str | None,
    encoder: DualEncoder | str | Path | None,
) -> dict[str, Any]:
    """The fields of `Model.from_pretrained`."""
    name = parse_hub_name(str(folder_or_name))
    if name is None or Path(folder_or_name).is_dir():
        if revision:
            raise UserError(f"{folder_or_name}: a folder has no revisions")
        return load_fields(folder_or_name, encoder)
    name = name._replace(revision=revision or name.revision)
    folder = fetch_model(name, token, cache_dir)
    try:
        return load_fields(folder, encoder)
    except UserError as error:
        raise UserError(
            f"{name}: {error} (to download it again, delete {folder.parents[1]})"
        ) from error
