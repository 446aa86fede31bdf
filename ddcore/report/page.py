"""The page of a set that is published: what it is, how it is loaded, what it states of itself, and what it is worth."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ddcore.artefact import DistilledSet
from ddcore.report.tables import NOT_PRIVATE, bytes_cell, markdown_table, results, stated_facts
from ddcore.types import Citation

UNLICENSED = "Whoever publishes it has named no licence. That of the real data may bind it too."


def set_page(
    distilled: DistilledSet,
    address: str,
    papers: Sequence[Citation],
    *,
    metrics: Mapping[str, Any] | None = None,
    card: str = "",
    picture: str | None = None,
    license: str | None = None,
) -> str:
    """The page of ``distilled`` at the ``address`` that ddcore loads it from, in Markdown under the Hub's own fields.

    ``metrics`` are those of its experiment, ``card`` is its fair card, ``picture`` the name of a file beside the page.
    """
    data, bits = distilled.data, distilled.bits or 32
    title = f"{distilled.method} on {data.name}, {len(distilled)} items"
    hidden = {name: value for name, value in distilled.facts.items() if name != "warnings"}
    single, certificates = stated_facts(hidden)
    told = single | {"versions": ", ".join(f"{name} {value}" for name, value in distilled.versions.items())}
    scores = ""
    if metrics is not None:
        scores = (
            f"## Scores\n\n{markdown_table(*results(metrics))}\nOn the test split of {data.name}, mean ± standard"
            f" deviation over {metrics['protocol']['repeats']} networks, all sets under one protocol.\n\n"
        )
    return (
        f"{_fields(distilled, title, license)}\n# {title}\n\n"
        + "".join(f"**Warning**: {sentence}\n\n" for sentence in distilled.warnings)
        + f"{len(distilled)} items {data.shape} for the {data.classes} classes of {data.name}, made by the method"
        f" {distilled.method} of ddcore so that fresh networks learn from them almost as from the whole set."
        f" {bytes_cell(distilled.nbytes)} bytes must be stored to have them, {bits} bits per number.\n\n"
        + (f"![The items, one row per class]({picture})\n\n" if picture else "")
        + f"## Load\n\n```python\nimport ddcore  # pip install 'ddcore[hub]'\n\n"
        f'distilled = ddcore.load_distilled("{address}")\n'
        "loader = distilled.loader(64)  # of (inputs, targets)\n```\n\n"
        f"`ddcore evaluate {address}` trains fresh networks on it. The file is safetensors, and loading it runs no"
        f" code. Inputs have been through the preprocessing {distilled.preprocess}.\n\n"
        + scores
        + _deeper(card)
        + certificates
        + f"## What it states\n\n{markdown_table(['what', 'value'], told.items())}\n{NOT_PRIVATE}\n\n"
        f"## Licence\n\n{license or UNLICENSED}\n\n"
        f"## Recipe\n\n```toml\n{distilled.recipe.strip()}\n```\n\n"
        "## Cite\n\n```bibtex\n" + "".join(f"{paper.bibtex().strip()}\n" for paper in papers) + "```\n"
    )


def _fields(distilled: DistilledSet, title: str, license: str | None) -> str:
    """What the Hub sorts the page by, as YAML, of which JSON is a part."""
    tags = ["dataset-distillation", "ddcore", *(["poisoned"] if distilled.facts.get("poisoned") else [])]
    fields = {"pretty_name": title, "tags": tags, "viewer": False} | ({"license": license} if license else {})
    return "".join(["---\n", *(f"{name}: {json.dumps(value)}\n" for name, value in fields.items()), "---\n"])


def _deeper(card: str) -> str:
    """A page without its title as sections of another one."""
    body = re.sub(r"\A# .*\n+", "", card).strip()
    return "## Fair card\n\n" + re.sub(r"^#", "##", body, flags=re.MULTILINE) + "\n\n" if body else ""
