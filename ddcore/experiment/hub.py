"""Sets of the Hugging Face Hub: an address there, the file that it stands for, and what the Hub refuses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from ddcore.errors import BadArtefact, RecipeRefused

HUB = "hf:"
"""What the address of a set on the Hub begins with, in the place of a path."""
SUFFIX = ".safetensors"
"""How the name of the only file ends that is ever downloaded."""
LOG_IN = "Log in with `hf auth login`, or set HF_TOKEN"


@dataclass(frozen=True)
class Address:
    """Where a set lies on the Hub: ``hf:OWNER/NAME``, ``hf:OWNER/NAME/FILE``, each also ``@REVISION``."""

    repository: str
    """The data set repository, OWNER/NAME."""
    file: str | None = None
    """The set in it; None where it holds one alone."""
    revision: str | None = None
    """A commit, a branch or a tag; None for the newest."""

    @staticmethod
    def of(text: str) -> Address:
        """The address that ``text`` is. Raises RecipeRefused where it is none."""
        match = re.fullmatch(rf"{HUB}([\w.-]+/[\w.-]+)(?:/([^@]+{re.escape(SUFFIX)}))?(?:@(.+))?", text)
        if match is None:
            raise RecipeRefused(
                f"{text} names no set of the Hub. Write {HUB}OWNER/NAME, {HUB}OWNER/NAME/FILE{SUFFIX} for one of"
                f" several, and {HUB}OWNER/NAME@REVISION for a commit, a branch or a tag."
            )
        return Address(*match.groups())


def hub() -> ModuleType:
    """huggingface_hub. Raises RecipeRefused where it is not installed."""
    try:
        import huggingface_hub
    except ImportError:
        raise RecipeRefused(
            "Sets of the Hub need huggingface_hub, which is not installed: pip install 'ddcore[hub]'."
        ) from None
    return huggingface_hub


def downloaded(text: str) -> Path:
    """The file of the set at the address ``text``, as huggingface_hub keeps it; no other file is downloaded.

    Raises:
        RecipeRefused: ``text`` is no address, or huggingface_hub is not installed.
        BadArtefact: there is no such repository or revision, it holds no set or several, or the Hub does not answer.
    """
    where, api = Address.of(text), hub().HfApi()
    with in_sentences(where):
        told = api.dataset_info(where.repository, revision=where.revision)
        names = sorted(one.rfilename for one in told.siblings or () if one.rfilename.endswith(SUFFIX))
        file = _one_of(names, where)
        return Path(api.hf_hub_download(where.repository, file, repo_type="dataset", revision=told.sha))


def _one_of(names: list[str], where: Address) -> str:
    """The set that is meant, of those with ``names``."""
    said = f"{where.repository} on the Hub"
    if where.file is not None and where.file not in names:
        raise BadArtefact(f"{said} holds no {where.file}. It holds: {', '.join(names) or f'no {SUFFIX} file'}.")
    if not names:
        raise BadArtefact(f"{said} holds no {SUFFIX} file, so it is no distilled set of ddcore.")
    if where.file is None and len(names) > 1:
        raise BadArtefact(f"{said} holds {', '.join(names)}. Name one: {HUB}{where.repository}/{names[0]}.")
    return where.file or names[0]


@contextmanager
def in_sentences(where: Address) -> Iterator[None]:
    """What the Hub refuses, and that it does not answer, as BadArtefact with a remedy."""
    from httpx import HTTPError
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:
        raise BadArtefact(
            f"Who may read {where.repository} is for its owner to say: ask for access on its page on the Hub. {LOG_IN}."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise BadArtefact(
            f"The Hub has no data set {where.repository}, or it is private and you are not logged in as one who may"
            f" read it. Compare the name with its page. {LOG_IN}."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise BadArtefact(
            f"{where.repository} on the Hub has no revision {where.revision}. Its page lists them."
        ) from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403):
            raise BadArtefact(
                f"The Hub does not let you into {where.repository} ({status}). {LOG_IN} to a token that has the right."
            ) from error
        raise BadArtefact(
            f"The Hub refuses {where.repository} ({status}: {error.server_message or 'no further message'})."
        ) from error
    except ValueError as error:  # of a name, or of fields of the page
        raise BadArtefact(f"The Hub does not take {where.repository} so: {' '.join(str(error).split())}") from error
    except (HTTPError, errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError) as error:
        raise BadArtefact(
            f"The Hub cannot be reached ({' '.join(str(error).split())}). Try again, or load a file that you have by"
            " its path."
        ) from error
