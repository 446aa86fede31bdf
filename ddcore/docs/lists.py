"""The lists of the site: what the catalogue holds as it is built."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import is_dataclass
from functools import cache
from html import escape
from itertools import zip_longest
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, cast, get_args, get_origin

from ddcore import plugin, testing
from ddcore.bounds import Infinite, in_words, names_file
from ddcore.catalogue import Catalogue, Entry, built_by
from ddcore.composition import Recipe
from ddcore.docs.docstrings import as_markdown
from ddcore.docs.sentences import classes, raised
from ddcore.evaluation.protocol import Protocol
from ddcore.experiment.plan import Settings
from ddcore.host import Host
from ddcore.packing import FieldCard, field_cards
from ddcore.parts import Part
from ddcore.template.kinds import EXAMPLES

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("*.md", "plugins/*.md", "plugins/*/*.md", "scenarios/**/*.md", "ddcore/docs/**/*.md")
"""Where pages lie."""
SENTENCE_ENDS = re.compile(r"(?<=[^\s.])(?<! al)\. (?=[A-Z`])")
"""A full stop that is neither a product nor an abbreviation."""
PLACES: Mapping[str, type[Part]] = {"": Recipe, "protocol.": Protocol, "experiment.": Settings}
"""What ``--set`` reaches, by what a path begins with."""


def pages() -> list[Path]:
    """The written pages, relative to the repository."""
    return sorted({path.relative_to(ROOT) for pattern in PAGES for path in ROOT.glob(pattern)})


@cache
def catalogue() -> Catalogue:
    return Host().catalogue


def kinds() -> list[str]:
    """Every kind of the catalogue, and the hooks."""
    return sorted({entry.kind for entry in catalogue()} | EXAMPLES.keys())


def kind_class(kind: str) -> type[Part] | None:
    """The class that every part of ``kind`` is derived from; None where they are functions."""
    makers = [entry.maker for entry in catalogue().of(kind) if isinstance(entry.maker, type)]
    return makers[0].__mro__[makers[0].__mro__.index(Part) - 1] if makers else None


def title(kind: str) -> str:
    return kind.replace("_", " ").capitalize()


def kind_page(kind: str) -> str:
    """The page of a kind for which none is written: what its class says."""
    base = kind_class(kind)
    says = _first_paragraph(base) if base else f"Functions, which `ddcore list` names {kind}s."
    return f"# {title(kind)}\n\n{says}\n"


def promised(kind: str) -> list[type]:
    """The class of ``kind``, and those of what its parts build."""
    base = kind_class(kind)
    return [cls for cls in (base, *built_by(base)) if cls.__module__.startswith("ddcore")] if base else []


def contract(kind: str) -> str:
    """What every part of ``kind``, and what it builds, must provide, and the parts that there are."""
    promises = "".join(map(documented, promised(kind)))
    text = f"\n## Contract\n{promises}" if promises else ""
    return text + f"\n## Installed\n\n{parts(kind)}" if catalogue().of(kind) else text


def offered(face: ModuleType) -> list[str]:
    """The names that a face imports lazily."""
    return cast(Any, face).__all__


@cache
def places() -> Mapping[str, str]:
    """Where each name of ``ddcore.plugin`` is imported from, as its stub says."""
    stub = ast.parse(Path(plugin.__file__).with_suffix(".pyi").read_text("utf-8"))
    lines = [line for line in stub.body if isinstance(line, ast.ImportFrom)]
    return {each.asname or each.name: f"ddcore.{line.module}.{each.name}" for line in lines for each in line.names}


def documented(noun: Any) -> str:
    """Where the site shows ``noun`` with its members, under the name that authors write; nowhere twice."""
    path = f"{noun.__module__}.{noun.__qualname__}"
    if path in in_pages():
        return ""
    called = f"dd.{noun.__name__}" if noun.__name__ in offered(plugin) else path
    return _shown(path, called, signed=not inspect.isclass(noun))


@cache
def in_pages() -> set[str]:
    """The nouns that written pages show, by their full names."""
    texts = (page.read_text("utf-8") for page in (ROOT / "ddcore" / "docs").rglob("*.md"))
    return {noun for text in texts for noun in re.findall(r"^::: (\S+)", text, re.MULTILINE)}


def parts(kind: str) -> str:
    """The parts of a kind: name, origin and first sentence."""
    return _table(
        ["name", "from", "what"], ([f"`{e.name}`", e.distribution, _first_sentence(e)] for e in catalogue().of(kind))
    )


def paths() -> str:
    """Every path that ``--set`` reaches: the fields of recipe, protocol and experiment, and of each part in them."""
    text = ""
    for start, cls in PLACES.items():
        head = start.rstrip(".") or "recipe"
        text += f"\n## {head.capitalize()}\n\n{_fields(field_cards(cls), start)}"
    for kind in kinds():
        entries = [e for e in catalogue().of(kind) if isinstance(e.maker, type) and is_dataclass(e.maker)]
        if kind in ("recipe", "settings", "protocol") or not entries:
            continue
        text += f"\n## {title(kind)} parts\n"
        for entry in entries:
            cards = field_cards(cast(type[Part], entry.maker))
            text += f"\n### {entry.name} ({kind}) {{ #{kind}-{entry.name} }}\n\n{_first_sentence(entry)}\n\n"
            text += _fields(cards, "") if cards else "It has nothing to set.\n"
    return text


def errors() -> str:
    """Every error: what it means, and each sentence that it is raised with."""
    files = sorted(path for folder in (ROOT / "ddcore", ROOT / "plugins") for path in folder.rglob("*.py"))
    said = raised(file for file in files if "template" not in file.parts and "build" not in file.parts)
    text = ""
    for name, cls in classes().items():
        text += f"\n## {name}\n\n{_first_paragraph(cls)}\n\n"
        text += (
            "".join(f"- {_plain(sentence)}\n" for sentence in said[name]) or "Derived errors are raised in its place.\n"
        )
    return text


def api() -> str:
    """Every part of the core by kind, with its fields."""
    text = ""
    for kind in kinds():
        makers = [e.maker for e in catalogue().of(kind) if e.distribution == "ddcore"]
        if makers:
            text += f"\n## {title(kind)}\n"
        text += "".join(map(documented, makers))
    return text


def face() -> str:
    """The names of ``ddcore.plugin`` that are neither parts, nor their kinds, nor bounds."""
    made = {entry.maker for entry in catalogue()}.union(*map(promised, kinds()))
    text = ""
    for name in sorted(offered(plugin), key=str.lower):
        noun = getattr(plugin, name)
        if inspect.isclass(noun) or inspect.isroutine(inspect.unwrap(noun)):
            text += "" if noun in made else documented(noun)
        elif get_origin(noun) is not Annotated:
            text += _shown(places()[name], f"dd.{name}", signed=True)
    return text


def bounds() -> str:
    """The bounded numbers and texts that ``ddcore.plugin`` offers for annotations, and what each admits."""
    hints = {name: getattr(plugin, name) for name in offered(plugin)}
    named = [(name, hint) for name, hint in hints.items() if get_origin(hint) is Annotated]
    return _table(["name", "type", "admits"], ([f"`dd.{n}`", get_args(h)[0].__name__, _admits(h)] for n, h in named))


def _shown(path: str, called: str, signed: bool) -> str:
    """Where the site shows what is at ``path``, headed ``called``; ``signed``: with its arguments, or its value."""
    options = f"heading: {called}" + (", separate_signature: true, show_attribute_values: true" if signed else "")
    return f"\n::: {path}\n    options: {{{options}}}\n"


def _admits(hint: Any) -> str:
    if names_file(hint):
        return "the path of a file or folder that the part reads"
    words = in_words(hint) or "any number"
    return f"{words}, or infinite" if Infinite() in get_args(hint) else words


def checks() -> str:
    """What ``ddcore.testing`` gives."""
    return "".join(documented(getattr(testing, name)) for name in sorted(offered(testing)))


MADE: Mapping[str, Callable[..., str]] = {
    "parts": parts,
    "paths": paths,
    "errors": errors,
    "api": api,
    "bounds": bounds,
    "face": face,
    "testing": checks,
}
"""What a page may ask for with a line such as ``<!-- made: parts view -->``."""


def _fields(cards: Iterable[FieldCard], start: str) -> str:
    rows = (
        [f"`{start}{c.field}`", _plain(c.type), f"`{c.default}`" if c.default else "", c.bounds, as_markdown(c.meaning)]
        for c in cards
    )
    return _table(["path", "type", "default", "bounds", "what"], rows)


def _table(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *([_cell(cell) for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(text: str) -> str:
    """``text`` on one line, without a bar that would end the cell; in code none does."""
    return " ".join(_outside_code(lambda plain: re.sub(r"(?<!\\)\|", r"\|", plain), text).split())


def _first_paragraph(maker: object) -> str:
    return as_markdown(" ".join((inspect.getdoc(maker) or "").partition("\n\n")[0].split()))


def _first_sentence(entry: Entry) -> str:
    return _plain(SENTENCE_ENDS.split(_first_paragraph(entry.maker), maxsplit=1)[0])


def _plain(text: str) -> str:
    """``text`` as Markdown that shows it as it is, and what stands between backticks as code."""
    return _outside_code(lambda plain: re.sub(r"[\\*_\[\]#|]", r"\\\g<0>", escape(plain, quote=False)), text)


def _outside_code(change: Callable[[str], str], text: str) -> str:
    """``text`` with ``change`` made of it wherever it is no code."""
    pieces = re.split(r"((`+)(?!`).+?(?<!`)\2(?!`))", text, flags=re.DOTALL)
    return "".join(change(plain) + code for plain, code in zip_longest(pieces[::3], pieces[1::3], fillvalue=""))
