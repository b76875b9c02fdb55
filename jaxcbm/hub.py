"""The Hugging Face hub through its own client, and what goes wrong there in one line.

The client's settings hold here too: `HF_ENDPOINT`, `HF_HUB_OFFLINE`, `HF_HUB_CACHE`, and the token
of `HF_TOKEN` or `hf auth login`. A token never gets into a message, whoever repeats it.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from jaxcbm import atomic
from jaxcbm.errors import UserError
from jaxcbm.lines import first_line

PREFIX = "hf-hub:"


class HubName(NamedTuple):
    """A repository `owner/name`, and a branch, tag or commit of it; None for its main branch."""

    repository: str
    revision: str | None = None

    def __str__(self) -> str:
        return self.repository + (f"@{self.revision}" if self.revision else "")


def parse_hub_name(text: str) -> HubName | None:
    """Read `owner/name`, `hf-hub:owner/name` or either with `@REVISION`; None for what is no name.

    >>> str(parse_hub_name("hf-hub:user/birds@v2")), parse_hub_name("runs/birds/model")
    ('user/birds@v2', None)
    """
    said = text.removeprefix(PREFIX)
    found = re.fullmatch(r"(\w[\w.-]*/\w[\w.-]*)(?:@(\w[\w./-]*))?", said, re.ASCII)
    return HubName(*found.groups()) if found else None


def fetch(name: HubName, download: Callable[..., str | Path], token: str | None = None) -> Path:
    """Download files of a repository; where the hub cannot be reached, find what is in the cache.

    Args:
        name: the repository.
        download: called with the names of all its files, fetches some by the client's
            `snapshot_download`, and returns their folder; called with None and
            `local_files_only=True` for what it is to find in the cache.
        token: as the client takes it.

    Raises:
        UserError: there is no such repository or revision, it may not be read, or the hub cannot be
            reached and the cache has no copy.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    with explained(name, token, _NOT_FETCHED):
        try:
            # One request without retries, so that a machine with no network hears so at once.
            about = HfApi().model_info(
                name.repository, revision=name.revision, timeout=10, token=token
            )
            return Path(download([file.rfilename for file in about.siblings or []]))
        except UserError:
            raise
        except Exception as error:  # no network, in one of the many ways that libraries put it
            if _refusal(name, error) is not None:
                raise
            try:
                return Path(download(None, local_files_only=True))
            except (LocalEntryNotFoundError, HFValidationError):
                raise error from None


_NOT_FETCHED = (
    "no such folder here, the hub cannot be reached ({}), and its cache has no copy; download it "
    "on a machine with a network and give the folder"
)
NOT_PUSHED = "it was not pushed, the hub cannot be reached or says nothing sensible ({}); try again"


@contextmanager
def explained(name: HubName, token: str | None, unreachable: str) -> Iterator[None]:
    """Turn whatever the client raises in the block into a `UserError` of one line.

    Args:
        name: the repository that it is about.
        token: what the client was given; None if it found one itself.
        unreachable: what to say where the hub has not answered, with `{}` for the reason.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        from huggingface_hub import get_token

        if isinstance(told := atomic.explained(error, "the hub's cache"), UserError):
            raise told from None
        said = f"{type(error).__name__}: {first_line(error)}"
        secrets = [secret for secret in (token, get_token()) if secret]
        # A message that repeats it would stand in the trace above ours.
        leaks = any(secret in f"{error!r}{error}" for secret in secrets)
        for secret in secrets:
            said = said.replace(secret, "(token)")
        refusal = _refusal(name, error)
        missed = f"{name}: {unreachable.format(f'{said:.200}')}"
        raise UserError(refusal or missed) from (None if leaks else error)


def _refusal(name: HubName, error: Exception) -> str | None:
    """What the hub says no to; None where it did not answer."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if isinstance(error, GatedRepoError):
        return (
            f"{name}: its owner asks for consent; accept it on huggingface.co/{name.repository} "
            "and log in with `hf auth login`"
        )
    if isinstance(error, RevisionNotFoundError):
        return f"{name}: the hub has {name.repository}, but no such branch, tag or commit"
    if isinstance(error, RepositoryNotFoundError):
        return (
            f"{name}: no such folder here and no such public model on the hub; check the spelling, "
            "and for a private one log in with `hf auth login` or set HF_TOKEN"
        )
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    if status in (401, 403):
        return (
            f"{name}: the hub refuses ({status}): log in with `hf auth login`, or set HF_TOKEN to "
            "a token that may do this"
        )
    return None
