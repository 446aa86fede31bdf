"""The papers that the core's parts and methods come from."""

from __future__ import annotations

import tomllib
from pathlib import Path

from ddcore.types import Citation

PAPERS = {
    key: Citation(key, **fields)
    for key, fields in tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8")).items()
}
"""By BibTeX key, from ``papers.toml``."""
