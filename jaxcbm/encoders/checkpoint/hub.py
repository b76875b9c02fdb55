"""A checkpoint from the Hugging Face hub, or from what earlier calls left in its cache."""

from pathlib import Path
from typing import Any

from jaxcbm.encoders.checkpoint.kind import read_kind
from jaxcbm.encoders.checkpoint.tensor_files import weight_patterns
from jaxcbm.encoders.families import FAMILIES
from jaxcbm.encoders.image.preprocess import PREPROCESS_FILES
from jaxcbm.encoders.open_clip.config import OPEN_CLIP_CONFIG
from jaxcbm.encoders.tokenizer import TOKENIZER_FILES
from jaxcbm.hub import HubName, fetch


def download(name: HubName) -> Path:
    """Fetch the files of a hub name that an encoder needs: one format of weights, not all.

    Returns:
        The folder in the hub's cache.

    Raises:
        UserError: there is no such name, or the hub cannot be reached and the cache has no copy.
    """
    from huggingface_hub import snapshot_download

    small = ["config.json", OPEN_CLIP_CONFIG, *PREPROCESS_FILES, *TOKENIZER_FILES]

    def needed(files: list[str] | None, **how: Any) -> str:
        how |= {"revision": name.revision} if name.revision else {}
        # The small files first: they tell which of the weights are the model's.
        folder = Path(snapshot_download(name.repository, allow_patterns=small, **how))
        files = [path.name for path in folder.iterdir()] if files is None else files
        weights = weight_patterns(files, FAMILIES[read_kind(folder, files)[0]].weights)
        return snapshot_download(name.repository, allow_patterns=[*small, *weights], **how)

    return fetch(name, needed)
