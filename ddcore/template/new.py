"""A new plugin: a distribution with an example of each kind asked for, which passes its own tests."""

from __future__ import annotations

import keyword
import re
from collections.abc import Sequence
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from string import Template

from ddcore.errors import RecipeRefused, UnknownName
from ddcore.files import write_whole
from ddcore.marker import HOOK_API
from ddcore.parts import snake_case
from ddcore.template.kinds import EXAMPLES, Example

SOURCES = files("ddcore.template") / "files"


def new_plugin(name: str, kinds: Sequence[str], parent: Path) -> Path:
    """Write the distribution ``ddcore-NAME`` with an example of each of ``kinds`` into ``parent``; its folder.

    Raises:
        RecipeRefused: the name cannot be one, or the folder exists.
        UnknownName: there is no example of that kind.
    """
    _check_name(name)
    if not kinds:
        raise RecipeRefused(f"{name} names no kind of which to write an example: {', '.join(EXAMPLES)}.")
    for kind in kinds:
        if kind not in EXAMPLES:
            raise UnknownName("kind of example", kind, EXAMPLES)
    folder = parent / f"ddcore-{name.replace('_', '-')}"
    if folder.exists():
        raise RecipeRefused(
            f"{folder} exists already, and nothing in it is changed: take another name, or move it away."
        )
    for path, text in Plan(name, list(dict.fromkeys(kinds))).written().items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, text.encode())
    return folder


def _check_name(name: str) -> None:
    if name.startswith("ddcore"):
        raise RecipeRefused(f"{name}: give the name without ddcore, which is put before it.")
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name) or keyword.iskeyword(name):
        raise RecipeRefused(
            f"{name!r} cannot be the name of a plugin: small letters, digits and single _ between them, a letter first,"
            " such as fourier or my_gate."
        )


class Plan:
    """The files of the plugin ``name`` with an example of each of ``kinds``."""

    def __init__(self, name: str, kinds: list[str]) -> None:
        self.name = name
        self.kinds = kinds
        self.camel = "".join(word.capitalize() for word in name.split("_"))
        self.module = f"ddcore_{name}"

    def written(self) -> dict[str, str]:
        """The text of each file, by its path."""
        sources = {f"{self.module}/{kind}.py": self._own(_source(f"{kind}.py")) for kind in self.kinds}
        shared = {
            "pyproject.toml": self._filled("pyproject.txt"),
            "README.md": self._filled("readme.txt"),
            f"{self.module}/__init__.py": self._package(),
            f"{self.module}/py.typed": "",
            f"tests/test_{self.name}.py": self._tests(),
        }
        return {**shared, **sources}

    def noun(self, kind: str) -> str:
        """What the example of ``kind`` is called here, so that two plugins do not claim one name."""
        noun = EXAMPLES[kind].noun
        if kind == "hook":
            return noun
        return f"{self.camel}{noun}" if noun[0].isupper() else f"{self.name}_{noun}"

    def _own(self, text: str) -> str:
        for kind in self.kinds:
            text = re.sub(rf"\b{EXAMPLES[kind].noun}\b", self.noun(kind), text)
        return text.replace("PLUGIN", self.name)

    def _filled(self, file: str) -> str:
        major, minor = version("ddcore").split(".")[:2]
        uses = "\n".join(f"ddcore {self._use(kind)}" for kind in self.kinds)
        listed = "\n".join(f"- `{self.module}/{kind}.py`: {self._says(kind)}" for kind in self.kinds)
        return Template(_source(file)).substitute(
            distribution=f"ddcore-{self.name.replace('_', '-')}",
            name=self.name,
            module=self.module,
            range=f"ddcore>={major}.{minor},<{major}.{int(minor) + 1}",
            uses=uses,
            listed=listed,
        )

    def _use(self, kind: str) -> str:
        return EXAMPLES[kind].use.replace("{name}", snake_case(self.noun(kind))).replace("PLUGIN", self.name)

    def _says(self, kind: str) -> str:
        first = _source(f"{kind}.py").split('"""')[1]
        return f"{first[0].lower()}{first[1:]}"

    def _imports(self) -> list[str]:
        return [f"from {self.module}.{kind} import {self.noun(kind)}" for kind in sorted(self.kinds)]

    def _package(self) -> str:
        api = f">={HOOK_API[0]}.{HOOK_API[1]},<{HOOK_API[0] + 1}"
        brought = [self.noun(kind) for kind in self.kinds if kind != "hook"]
        hooks = ['\n__all__ = ["ddcore_parts", "ddcore_step"]\n'] if "hook" in self.kinds else []
        return "\n".join(
            [
                f'"""The plugin {self.name}: say in a sentence what it is for."""\n',
                "from typing import Any\n",
                "from ddcore import plugin as dd",
                *self._imports(),
                *hooks,
                f'\nddcore_api = "{api}"\n\n',
                "@dd.hookimpl",
                "def ddcore_parts() -> list[Any]:",
                f"    return {_listed(brought)}\n",
            ]
        )

    def _tests(self) -> str:
        blocks = [_source("test_head.txt").replace("MODULE", self.module)]
        imports = [line for line in self._imports() if not line.endswith("ddcore_step")]
        blocks[0] = blocks[0].replace("IMPORTS\n", "".join(f"{line}\n" for line in imports))
        blocks += [self._test(kind, EXAMPLES[kind]) for kind in self.kinds if EXAMPLES[kind].check]
        blocks.append(_source("test_run.txt").replace("PARTS", self._slots()))
        if "data" in self.kinds:
            blocks.append(_source("test_data.txt").replace("NOUN", self.noun("data")))
        if "hook" in self.kinds:
            blocks.append(_source("test_hook.txt"))
        return "\n\n".join(block.strip("\n") + "\n" for block in blocks).replace("PLUGIN", self.name)

    def _test(self, kind: str, example: Example) -> str:
        check = example.check.replace("{noun}", self.noun(kind))
        return f"def test_the_{kind}_keeps_the_rules_of_its_kind() -> None:\n    {check}\n"

    def _slots(self) -> str:
        made = [f"{self.noun(kind)}()" for kind in self.kinds if EXAMPLES[kind].slot]
        return "".join(f"        {part},\n" for part in made)


def _listed(names: list[str]) -> str:
    line = f"[{', '.join(names)}]"
    return line if len(line) < 100 else "[\n" + "".join(f"        {name},\n" for name in names) + "    ]"


def _source(file: str) -> str:
    return (SOURCES / file).read_text()
