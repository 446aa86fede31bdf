"""Pushing: a distilled set on the Hugging Face Hub, with its page."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from ddcore.artefact import DistilledSet
from ddcore.composition import Recipe
from ddcore.errors import RecipeRefused
from ddcore.experiment.folder import Folder
from ddcore.experiment.hub import HUB, LOG_IN, SUFFIX, Address, hub, in_sentences
from ddcore.experiment.reading import ZOO, file_at, papers_of, preprocess_of
from ddcore.host import Host
from ddcore.report.metrics import read_metrics
from ddcore.report.page import set_page
from ddcore.report.picture import write_images

PAGE, PICTURE, SET = "README.md", "images.png", f"distilled{SUFFIX}"
"""The files of a repository: the page, the items where they are images, and the set."""
CARD, CARD_PICTURE = "card.md", "card.png"
"""What `ddcore card` leaves, and is pushed."""


@dataclass(frozen=True)
class Pushed:
    """Where a set lies after a push."""

    address: str
    """With the commit, so that it is always this set."""
    page: str
    """The URL of the repository."""
    warnings: tuple[str, ...]
    """Those of the set, which stand on its page too."""


def push(
    place: str | os.PathLike[str],
    address: str,
    *,
    private: bool = False,
    license: str | None = None,
    card: Path | None = None,
    host: Host | None = None,
) -> Pushed:
    """Put the set at ``place`` on the Hub at ``address``, in one commit with its page; an older one stays in history.

    The page has the scores of its experiment and its fair card: that in the folder ``card``, by default in ``card/`` of
    its experiment. The token is huggingface_hub's own, and is not written anywhere.

    Raises:
        RecipeRefused: no address to push to, nobody logged in, or a public repository where ``private`` is meant.
        BadArtefact: the set is damaged, or the Hub refuses it or does not answer.
    """
    host, where = host or Host(), Address.of(address)
    if where.file or where.revision:
        raise RecipeRefused(f"A push makes its own file and commit: name {HUB}{where.repository} alone.")
    path = file_at(place)
    distilled = DistilledSet.load(path)
    recipe, preprocess = Recipe.from_toml(distilled.recipe, host.catalogue), preprocess_of(distilled, host.catalogue)
    folder = Path(place) if Path(place).is_dir() else None
    metrics = read_metrics(folder)[1] if folder and Folder(folder).metrics.exists() else None
    fair = _card_of(place, path, folder, card)
    client = hub()
    if client.get_token() is None:
        raise RecipeRefused(f"You are not logged in to the Hub. {LOG_IN} to a token that may write.")
    with TemporaryDirectory() as made:
        picture = write_images(distilled, preprocess, Path(made, PICTURE))
        page = set_page(
            distilled,
            f"{HUB}{where.repository}",
            papers_of(recipe, host),
            metrics=metrics,
            card=fair.read_text("utf-8") if fair else "",
            picture=picture and PICTURE,
            license=license,
        )
        files = {PAGE: page.encode(), SET: path} | ({PICTURE: picture} if picture else {})
        if fair and (shown := fair.with_name(CARD_PICTURE)).exists():
            files[CARD_PICTURE] = shown
        return _committed(where, files, distilled, private)


def _card_of(place: str | os.PathLike[str], path: Path, folder: Path | None, card: Path | None) -> Path | None:
    """The fair card of the set, where there is one. Raises RecipeRefused where the folder ``card`` has none."""
    if card is not None:
        if not (card / CARD).is_file():
            raise RecipeRefused(f"There is no {CARD} in {card}. `ddcore card SET --out {card}` makes it.")
        return card / CARD
    beside = folder / "card" / CARD if folder else path.with_suffix(".md")
    return beside if beside.is_file() and (folder or os.fspath(place).startswith(ZOO)) else None


def _committed(where: Address, files: dict[str, bytes | Path], distilled: DistilledSet, private: bool) -> Pushed:
    client = hub()
    api, kind = client.HfApi(), {"repo_type": "dataset"}
    with in_sentences(where):
        api.create_repo(where.repository, private=private or None, exist_ok=True, **kind)
        if private and not api.dataset_info(where.repository).private:
            raise RecipeRefused(
                f"{where.repository} is public already. Make it private in its settings on the Hub, or name another."
            )
        added = [client.CommitOperationAdd(name, source) for name, source in files.items()]
        said = f"{distilled.method} on {distilled.data.name}"
        done = api.create_commit(where.repository, added, commit_message=said, **kind)
    return Pushed(f"{HUB}{where.repository}@{done.oid}", done.repo_url.url, distilled.warnings)
