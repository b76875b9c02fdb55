"""A checkpoint from the Hugging Face hub, or from what earlier calls left in its cache."""

from pathlib import Path

from jaxcbm.encoders.checkpoint.kind import read_kind
from jaxcbm.encoders.checkpoint.tensor_files import weight_patterns
from jaxcbm.encoders.families import FAMILIES
from jaxcbm.encoders.image.preprocess import PREPROCESS_FILES
from jaxcbm.encoders.open_clip.config import OPEN_CLIP_CONFIG
from jaxcbm.encoders.tokenizer import TOKENIZER_FILES
from jaxcbm.errors import UserError
from jaxcbm.lines import first_line


def download(name: str) -> Path:
    """Fetch the files of a hub name that an encoder needs: one format of weights, not all.

    Args:
        name: "owner/model".

    Returns:
        The folder in the hub's cache.

    Raises:
        UserError: there is no such name, or the hub cannot be reached and the cache has no copy.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    small = ["config.json", OPEN_CLIP_CONFIG, *PREPROCESS_FILES, *TOKENIZER_FILES]
    try:
        # One request without retries, so that a machine with no network hears so at once.
        files = [file.rfilename for file in HfApi().model_info(name, timeout=10).siblings or []]
        # The small files first: they tell which of the weights are the model's.
        folder = Path(snapshot_download(name, allow_patterns=small))
        weights = weight_patterns(files, FAMILIES[read_kind(folder, files)[0]].weights)
        return Path(snapshot_download(name, allow_patterns=[*small, *weights]))
    except UserError:
        raise
    except GatedRepoError as error:
        raise UserError(
            f"{name}: its owner asks for consent; accept it on huggingface.co/{name} and log in "
            "with `hf auth login`"
        ) from error
    except RepositoryNotFoundError as error:
        raise UserError(
            f"{name}: no such folder here and no such public model on the hub; check the spelling"
        ) from error
    except Exception as error:  # no network, in one of the many ways that libraries put it
        try:
            return Path(snapshot_download(name, local_files_only=True))
        except (LocalEntryNotFoundError, HFValidationError):
            raise UserError(
                f"{name}: no such folder here, the hub cannot be reached "
                f"({type(error).__name__}: {first_line(error):.200}), and its cache has no "
                "copy; download it on a machine with a network and give the folder"
            ) from error
