"""The floors: an import may only go down. Read from the syntax, so that no import hides in a function."""

import ast
import importlib
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import ddcore

ROOT = Path(__file__).resolve().parents[1]
CORE = ROOT / "ddcore"
SCENARIOS = ROOT / "scenarios"

FLOORS = {
    "ground": [
        {"bounds", "errors", "fast", "marker", "types"},
        {"files", "losses", "papers", "published", "ranks"},
        {"rng"},
        {"checkpoint", "chunking", "device", "levels", "memory", "plots", "tensors", "trace"},
        {"crops"},
    ],
    "values": [
        {"arrays", "parts", "store"},
        {"augment", "catalogue", "columns", "data", "optimisers", "schedules"},
        {"packing", "unroll"},
        {"naming"},
    ],
    "parts": [
        {"gate"},
        {"datasets", "distance", "networks", "preprocess", "kernels"},
        {"context"},
        {"synthetic"},
        {"carriers", "update"},
        {"labels"},
        {"objectives", "policies"},
        {"kinds"},
    ],
    "composition": [{"card", "composition"}, {"artefact", "recipes"}, {"evaluation", "exchange", "report", "run"}],
    "host": [{"builtin", "hookspecs"}, {"host"}, {"experiment", "plain"}, {"bench", "study"}],
    "face": [{"verbs"}, {"template", "testing"}, {"cli", "plugin"}, {"docs"}, {"__init__", "__main__"}],
}
"""Six floors; the rows of a floor stand one above another."""
ROWS = [row for rows in FLOORS.values() for row in rows]
SHARED = {
    "augment": {"transforms", "mixing"},
    "bench": {"rows"},
    "cli": {"options"},
    "docs": {"docstrings", "lists", "sentences"},
    "datasets": {"pictures"},
    "carriers": {"chosen", "decoding", "picking", "tiles"},
    "experiment": {"evaluating", "folder", "hub", "interrupts", "plan", "reading"},
    "evaluation": {
        *{
            "accuracy",
            "calibration",
            "diverged",
            "estimators",
            "kept",
            "measures",
            "predictions",
            "preset",
            "protocol",
            "protocols",
        },
        *{"teaching", "training", "training_set"},
    },
    "exchange": {"images", "ranking"},
    "gate": {"curriculum", "fit", "guard", "record", "source", "spent", "view", "wrapped"},
    "labels": {"stored"},
    "networks": {"checked", "convnet", "fused", "layers", "mixed", "started", "structure"},
    "objectives": {"batches", "means", "student"},
    "policies": {"memory", "training"},
    "report": {"measured", "metrics", "tables"},
    "study": {"engine", "experiments", "finding", "post", "watchdog"},
    "template": {"kinds"},
    "testing": {
        *{
            "carriers",
            "contract",
            "data_sets",
            "gates",
            "hooks",
            "measures",
            "networks",
            "objectives",
            "policies",
            "protocols",
        },
        *{"recipes", "shrinking", "tiny", "trial", "vertices", "views"},
    },
}
"""Files that the members of a family share, besides its ``base``."""
GUESTS = {"avalanche", "flwr", "opacus", "torch_geometric", "ray", "optuna", "dask", "distributed"}
INVITED = {"study/ray.py": {"ray"}, "study/dask.py": {"dask", "distributed"}}
"""Who may be imported where: extras of the core, which one engine alone knows."""
PICKLES = {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
TRUSTING = {
    Path("study/engine.py"): {"joblib.cpu_count"},
    Path("study/loky.py"): {
        "joblib.externals.loky.ProcessPoolExecutor",
        "joblib.externals.loky.process_executor.BrokenProcessPool",
    },
}
"""What may be used where: the engine pickles to the processes that it starts, and reads no file."""
NAMELESS = {"utils", "util", "misc", "helpers", "helper", "common"}
OUTSIDE = (CORE / "template" / "files", CORE / "docs" / "examples")
"""Files of new plugins and examples of the site, which import the face as others do."""
MODULES = sorted(path.relative_to(CORE) for path in CORE.rglob("*.py") if not {*OUTSIDE} & {*path.parents})


def imports(tree, package=()):
    """Each imported thing's dotted name, wherever in the file it stands; ``package`` is what a leading dot means."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            way = package[: len(package) - node.level + 1] if node.level else ()
            yield from (".".join((*way, *filter(None, [node.module]), alias.name)) for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("import_module", "__import__"):
            yield from (a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str))


def floor(noun):
    return next((i for i, nouns in enumerate(ROWS) if noun in nouns), None)


def violations(path, source):
    """What is wrong with the imports of the module at ``path`` (relative to ddcore/), in sentences."""
    own = path.with_suffix("").parts
    here = floor(own[0])
    if here is None:
        yield f"{path} stands on no floor"
        return
    for name in imports(ast.parse(source), ("ddcore", *own[:-1])):
        top, *rest = name.split(".")
        if top in GUESTS - INVITED.get(str(path), set()):
            yield f"{path} imports the guest {top}"
        if top != "ddcore":
            continue
        there = floor(rest[0]) if rest else None
        if there is None:
            yield f"{path} imports {name} from the face, which is not below it"
        elif rest[0] != own[0]:
            if there >= here:
                yield f"{path} imports {name}, which is not below it"
        elif own[-1] != "__init__" and (rest[1:2] or ["__init__"])[0] not in {"base", own[-1], *SHARED.get(own[0], ())}:
            yield f"{path} imports its sibling {name}"


def of_other_plugins(source, own):
    """What a plugin's module knows of other plugins: their modules, and their options by name."""
    others = {path.name for path in (ROOT / "plugins").iterdir() if path.is_dir()} - {own}
    tree = ast.parse(source)
    yield from (name for name in imports(tree) if name.split(".")[0] in {f"ddcore_{other}" for other in others})
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield from (node.value for other in others if re.search(rf"^{other}$|plugins\.{other}", node.value))


def around_the_face(source):
    """What a guest's module takes of ddcore that the face does not offer."""
    offered = {*ddcore.__all__, "__version__"}
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("ddcore."))
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "ddcore":
            yield from {f"ddcore.{node.attr}"} - {f"ddcore.{name}" for name in offered}
    aliases = {a.asname for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) for a in n.names if a.name == "plugin"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in {"ddcore.plugin", *aliases}:
            yield from {f"ddcore.plugin.{node.attr}"} - {f"ddcore.plugin.{name}" for name in ddcore.plugin.__all__}
    for name in imports(tree):
        top, *rest = name.split(".")
        if top == "ddcore" and rest and (len(rest) > 1 or rest[0] not in offered):
            yield name


def unsafe(source):
    """What in the module could run code out of a stranger's file."""
    tree = ast.parse(source)
    yield from (name for name in imports(tree) if name.split(".")[0] in PICKLES or name in ("torch.load", "numpy.load"))
    safe = {"torch": ("weights_only", True), "np": ("allow_pickle", False), "numpy": ("allow_pickle", False)}
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        module, _, function = ast.unparse(call.func).rpartition(".")
        if function == "load" and module in safe:
            keyword, wanted = safe[module]
            said = [k.value.value for k in call.keywords if k.arg == keyword and isinstance(k.value, ast.Constant)]
            if said != [wanted]:
                yield ast.unparse(call)


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_imports_only_go_down(path):
    assert list(violations(path, (CORE / path).read_text())) == []


def circle(sources):
    """A circle of modules that import each other, or nothing; ``sources`` by path relative to ddcore/."""
    dotted = {".".join(("ddcore", *path.with_suffix("").parts)).removesuffix(".__init__"): path for path in sources}
    graph = {}
    for name, path in dotted.items():
        found = imports(ast.parse(sources[path]), ("ddcore", *path.parts[:-1]))
        modules = {n if n in dotted else n.rpartition(".")[0] for n in found}
        graph[name] = modules & dotted.keys() - {name, "ddcore"}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return None


def test_no_modules_import_each_other_in_a_circle():
    sources = {path: (CORE / path).read_text() for path in MODULES}
    assert circle(sources) is None
    sources[Path("cli/base.py")] += "\nimport ddcore.cli"
    assert set(circle(sources)) == {"ddcore.cli", "ddcore.cli.base"}


@pytest.mark.parametrize(
    ("path", "source", "sentence"),
    [
        ("types.py", "from ddcore.parts import Part", "not below it"),
        ("gate/base.py", "def f():\n    import ddcore.composition", "not below it"),
        (
            "gate/base.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ddcore.run import Run",
            "not below it",
        ),
        ("types.py", "from ddcore import rng", "not below it"),
        ("rng.py", "from .run import Run", "not below it"),
        ("networks/mlp.py", "from .. import composition", "not below it"),
        ("rng.py", "import importlib\nimportlib.import_module('ddcore.run')", "not below it"),
        ("host.py", "from ddcore import Recipe", "face"),
        ("host.py", "import ddcore", "face"),
        ("carriers/pixels.py", "from ddcore.carriers.codes import Codes", "sibling"),
        ("carriers/pixels.py", "from .codes import Codes", "sibling"),
        ("carriers/base.py", "from ddcore.carriers.pixels import Pixels", "sibling"),
        ("cli/base.py", "import ddcore.cli", "sibling"),
        ("synthetic.py", "from ddcore.carriers.base import Carrier", "not below it"),
        ("host.py", "import opacus.accountants", "guest"),
        ("host.py", "__import__('flwr')", "guest"),
        ("stray.py", "", "no floor"),
    ],
)
def test_the_checker_sees_a_planted_violation(path, source, sentence):
    found = list(violations(Path(path), source))
    assert len(found) == 1
    assert sentence in found[0]


def test_every_noun_of_the_table_exists_and_stands_in_the_guide():
    modules = {path.with_suffix("").parts[0] for path in MODULES}
    assert set().union(*ROWS) == modules
    rows = re.findall(r"^\| (\w+) \| (`.+) \|$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    told = {name: set(re.findall(r"`(\w+)(?:/\*)?`", nouns)) for name, nouns in rows}
    assert told == {name: set().union(*rows) for name, rows in FLOORS.items()}


def test_no_file_is_named_for_nothing():
    names = {path.stem for folder in ("ddcore", "plugins", "scenarios") for path in (ROOT / folder).rglob("*.py")}
    assert not names & NAMELESS


@pytest.mark.parametrize(
    "folder",
    [
        "plugins",
        "scenarios",
        "tests/example_plugin",
        "tests/outside_plugin",
        *(path.relative_to(ROOT) for path in OUTSIDE),
    ],
)
def test_guests_and_scenarios_import_only_the_face(folder):
    for path in (ROOT / folder).rglob("*.py"):
        assert list(around_the_face(path.read_text())) == [], path


@pytest.mark.parametrize(
    "source",
    [
        "import ddcore.gate",
        "import ddcore.evaluate as e",
        "from ddcore import gate",
        "from ddcore.gate import View",
        "import ddcore\nddcore.gate",
        "import importlib\nimportlib.import_module('ddcore.gate')",
    ],
)
def test_the_checker_sees_a_guest_around_the_face(source):
    assert list(around_the_face(source))


@pytest.mark.parametrize("own", sorted(path.name for path in (ROOT / "plugins").iterdir() if path.is_dir()))
def test_no_plugin_knows_anothers_options(own):
    for path in (ROOT / "plugins" / own).rglob("*.py"):
        assert list(of_other_plugins(path.read_text(), own)) == [], path


@pytest.mark.parametrize(
    "source",
    [
        "from ddcore_private.gate import PrivateGate",
        "def f():\n    import ddcore_private",
        "recipe.plugins.get('private')",
        "overrides = {'plugins.private.requests': 3}",
        "f'set plugins.private.epsilon to {x}'",
    ],
)
def test_the_checker_sees_a_plugin_that_knows_another(source):
    assert list(of_other_plugins(source, "federated"))
    assert not list(of_other_plugins(source, "private"))


def test_nothing_is_unpickled_that_a_stranger_could_have_made():
    for path in MODULES:
        found = set(unsafe((CORE / path).read_text()))
        assert found == TRUSTING.get(path, set()), path


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "def f():\n    from joblib import load",
        "from torch import load",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=trusting)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
    ],
)
def test_the_checker_sees_unsafe_loading(source):
    assert list(unsafe(source))


@pytest.mark.parametrize("module", ["ddcore", "ddcore.plugin"])
def test_each_name_of_a_lazy_module_can_be_had(module):
    lazy = importlib.import_module(module)
    stub = CORE / ("__init__.pyi" if module == "ddcore" else "plugin.pyi")
    named = {a.asname for node in ast.parse(stub.read_text()).body for a in node.names}
    assert named == set(lazy.__all__)
    assert all(getattr(lazy, name) is not None for name in named)


def test_no_name_of_a_lazy_module_hides_the_module_that_it_comes_from():
    for stub in ("__init__.pyi", "plugin.pyi", "testing/__init__.pyi"):
        for node in ast.parse((CORE / stub).read_text()).body:
            assert node.module not in {a.asname for a in node.names}, (stub, node.module)


@pytest.mark.parametrize("path", sorted(SCENARIOS.rglob("*.py")), ids=lambda path: str(path.relative_to(SCENARIOS)))
def test_what_a_scenario_imports_of_ddcore_is_there(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ddcore"):
            module = importlib.import_module(node.module)
            assert not [alias.name for alias in node.names if not hasattr(module, alias.name)]


def test_the_face_has_few_nouns():
    assert len(ddcore.__all__) <= 90
