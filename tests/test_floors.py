"""The floors: an import may only go down. Read from the syntax, so that no import hides in a function."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

FLOORS = [
    {"types", "errors", "rng", "marker"},
    {"parts", "data", "memory"},
    {"gate"},
    {"synthetic", "networks", "augment", "preprocess", "distance", "datasets"},
    {"carriers", "labels"},
    {"objectives", "policies"},
    {"recipe"},
    {"artefact", "recipes"},
    {"run", "evaluate", "report"},
    {"hookspecs", "builtin"},
    {"host"},
    {"experiment", "bench"},
    {"__init__", "cli"},
]
GUESTS = {"avalanche", "flwr", "opacus", "torch_geometric", "ray"}
NAMELESS = {"utils", "util", "misc", "helpers", "helper", "common"}


def imports(tree):
    """Each imported module's dotted name, wherever in the file the import stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            if node.module == "ddcore" or (node.module or "").startswith("ddcore."):
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def floor(noun):
    return next((i for i, nouns in enumerate(FLOORS) if noun in nouns), None)


def violations(path, source):
    """What is wrong with the imports of the module at ``path`` (relative to ddcore/), in sentences."""
    own = path.with_suffix("").parts
    here = floor(own[0])
    if here is None:
        yield f"{path} stands on no floor"
        return
    for name in imports(ast.parse(source)):
        top, *rest = name.split(".")
        if top in GUESTS:
            yield f"{path} imports the guest {top}"
        if top != "ddcore" or not rest or floor(rest[0]) is None:
            continue
        if rest[0] == own[0]:
            inner = rest[1:2] or ["__init__"]
            package = len(own) > 1 and own[1] == "__init__"
            if len(own) > 1 and not package and inner[0] not in ("base", own[1], "__init__"):
                yield f"{path} imports its sibling {name}"
        elif floor(rest[0]) >= here:
            yield f"{path} imports {name}, which is not below it"


MODULES = sorted(path.relative_to(ROOT / "ddcore") for path in (ROOT / "ddcore").rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_imports_only_go_down(path):
    assert list(violations(path, (ROOT / "ddcore" / path).read_text())) == []


@pytest.mark.parametrize(
    ("path", "source", "sentence"),
    [
        ("types.py", "from ddcore.parts import Part", "not below it"),
        ("gate.py", "def f():\n    import ddcore.recipe", "not below it"),
        (
            "gate.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ddcore.run import Run",
            "not below it",
        ),
        ("rng.py", "from ddcore import types", "not below it"),
        ("carriers/pixels.py", "from ddcore.carriers.chosen import herd", "sibling"),
        ("labels.py", "from ddcore.carriers.base import Carrier", "not below it"),
        ("host.py", "import opacus.accountants", "guest"),
        ("stray.py", "", "no floor"),
    ],
)
def test_the_checker_sees_a_planted_violation(path, source, sentence):
    found = list(violations(Path(path), source))
    assert len(found) >= 1
    assert sentence in found[0]


def test_no_file_is_named_for_nothing():
    names = {path.stem for folder in ("ddcore", "plugins", "scenarios") for path in (ROOT / folder).rglob("*.py")}
    assert not names & NAMELESS


@pytest.mark.parametrize("folder", ["plugins", "scenarios", "tests/example_plugin"])
def test_guests_and_scenarios_import_only_the_face(folder):
    for path in (ROOT / folder).rglob("*.py"):
        named = {name for name in imports(ast.parse(path.read_text())) if name.startswith("ddcore.")}
        import ddcore

        assert {name.removeprefix("ddcore.") for name in named} <= set(dir(ddcore)), path


def test_nothing_is_unpickled_that_a_stranger_could_have_made():
    for path in MODULES:
        tree = ast.parse((ROOT / "ddcore" / path).read_text())
        assert not {"pickle", "dill", "cloudpickle", "joblib"} & {name.split(".")[0] for name in imports(tree)}
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            if ast.unparse(call.func) == "torch.load":
                assert any(k.arg == "weights_only" and k.value.value is True for k in call.keywords), path
            if ast.unparse(call.func) == "np.load":
                assert any(k.arg == "allow_pickle" and k.value.value is False for k in call.keywords), path
