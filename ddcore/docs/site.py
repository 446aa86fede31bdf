"""How MkDocs builds the site: each page is a file of the repository, at the place where it lies.

So a link is right both in the repository and on the site, and no text stands twice.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from ddcore.docs import lists

ROOT = lists.ROOT
KINDS = PurePosixPath("ddcore/docs/kinds")
LINK = re.compile(r"\]\((?!\w+:|#)([^)#]+)[^)]*\)")
MADE = re.compile(r"^<!-- made: (\w+) ?(\w*) -->$", re.MULTILINE)


def address(path: PurePosixPath) -> str:
    """The file that the page at ``path`` of the repository becomes."""
    short = path.relative_to("ddcore/docs") if path.is_relative_to("ddcore/docs") else path
    folder = short.parent if short.stem == "README" else short.with_suffix("")
    return str(PurePosixPath(str(folder).lower()) / "index.html")


def linked(page: Path) -> set[Path]:
    """The files of the repository, pages left out, that ``page`` links to or shows."""
    targets = {(ROOT / page).parent.joinpath(link).resolve() for link in LINK.findall((ROOT / page).read_text("utf-8"))}
    return {target.relative_to(ROOT) for target in targets if target.is_file() and target.suffix != ".md"}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    for section in config["nav"]:
        if isinstance(section, dict) and "Kinds of parts" in section:
            section["Kinds of parts"] = [str(KINDS / f"{kind}.md") for kind in lists.kinds()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    kept = [file for file in files if file.src_dir != config.docs_dir]
    written = lists.pages()
    for path in written:
        kept.append(File(path.as_posix(), str(ROOT), config.site_dir, True, dest_uri=address(PurePosixPath(path))))
    for path in sorted(set().union(*map(linked, written))):
        kept.append(File(path.as_posix(), str(ROOT), config.site_dir, True))
    for kind in lists.kinds():
        page = KINDS / f"{kind}.md"
        if not (ROOT / page).exists():
            made = File.generated(config, str(page), content=lists.kind_page(kind))
            made.dest_uri = address(page)
            kept.append(made)
    return Files(kept)


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    path = PurePosixPath(page.file.src_uri)
    text = MADE.sub(lambda found: lists.MADE[found[1]](*filter(None, [found[2]])), markdown)
    return text + (lists.contract(path.stem) if path.parent == KINDS else "")
