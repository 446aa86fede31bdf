"""The pages of the documentation: each kind, error, hook and plugin has its place, and what they name exists."""

import ast
import re
from html import unescape
from pathlib import Path

import pytest

from ddcore import Host, errors
from ddcore.template.kinds import EXAMPLES

lists = pytest.importorskip("ddcore.docs.lists", reason="the pages lie in the tree, and what is imported is a wheel")

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "ddcore" / "docs"
NAV = (ROOT / "mkdocs.yml").read_text()
CLOSED = {"adversarial", "curriculum", "fit", "reconstruct", "update"}
"""Kinds of the core with one part, which are not there to be extended: their page is what their class says."""


@pytest.mark.parametrize("kind", lists.kinds())
def test_every_kind_has_a_page(kind):
    page = PAGES / "kinds" / f"{kind}.md"
    cores = kind in EXAMPLES or any(entry.distribution == "ddcore" for entry in Host().catalogue.of(kind))
    if cores and kind not in CLOSED:
        assert page.exists(), f"The kind {kind} can be extended and has no page: write ddcore/docs/kinds/{kind}.md."
        assert "\n## Example\n" in page.read_text(), f"The page of the kind {kind} shows no example."
    else:
        assert lists.kind_page(kind).split("\n\n")[1].strip(), (
            f"The class of the kind {kind} has no docstring to make a page of."
        )
    assert "\n## Installed\n" in lists.contract(kind) or kind == "hook"


@pytest.mark.parametrize("kind", [kind for kind in EXAMPLES if kind != "hook"])
def test_the_page_of_a_kind_says_how_to_begin_and_how_to_test(kind):
    page = (PAGES / "kinds" / f"{kind}.md").read_text()
    check = re.search(r"testing\.(\w+)", EXAMPLES[kind].check)[1]
    assert f"--kind {kind}" in page and f"`testing.{check}`" in page
    assert f'--8<-- "ddcore/template/files/{kind}.py"' in page
    assert EXAMPLES[kind].use.split("{name}")[0].split(" --")[0] in page or kind == "data", "a command that uses it"


def test_every_page_is_in_the_navigation_or_is_of_a_kind():
    kinds = {f"ddcore/docs/kinds/{kind}.md" for kind in lists.kinds()}
    for page in map(Path.as_posix, lists.pages()):
        assert page in NAV or page in kinds, f"{page} cannot be reached: enter it in the nav of mkdocs.yml."


def test_every_plugin_has_its_page():
    for folder in (path for path in (ROOT / "plugins").iterdir() if (path / "pyproject.toml").exists()):
        assert f"plugins/{folder.name}/README.md" in NAV
        assert f"({folder.name}/README.md)" in (ROOT / "plugins" / "README.md").read_text()


def test_every_error_stands_in_the_index_with_its_sentences():
    raised = {cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, errors.DdcoreError)} | {
        errors.StopRun
    }
    text = lists.errors()
    for cls in raised:
        assert cls.__doc__, f"{cls.__name__} has no docstring to stand in the index of errors."
        assert f"\n## {cls.__name__}\n" in text
    assert "- … is damaged: it is not as it was written, by its checksums. …\n" not in text, "a class that is a value"
    assert "- --workers …: the engine local runs one case at a time. Name loky, ray or dask.\n" in text


def test_sentences_are_read_from_the_sources(tmp_path):
    source = tmp_path / "one.py"
    source.write_text(
        "raise RecipeRefused(f'{x} is too large: ' + 'take {less}.')\nraise errors.BadData('It holds NaN.')\n"
        "raise UnknownName('view', name, names)\nraise ValueError('no')\nraise BadData(sentence)\n"
    )
    found = {name: said for name, said in lists.raised([source]).items() if said}
    assert found == {
        "RecipeRefused": ["… is too large: take {less}."],
        "BadData": ["It holds NaN."],
        "UnknownName": ["There is no view named …."],
    }


def test_paths_hold_the_fields_of_recipe_protocol_and_every_part():
    text = lists.paths()
    for path in ("`network`", "`protocol.steps`", "`experiment.validation`"):
        assert f"| {path} |" in text
    for entry in Host().catalogue:
        if isinstance(entry.maker, type) and entry.kind not in ("protocol", "recipe", "settings"):
            assert f"{{ #{entry.kind}-{entry.name} }}" in text
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    cells = [re.split(r"(?<!\\)\|", re.sub("`[^`]+`", "", row)) for row in rows]
    assert {*map(len, cells)} == {7}, "a sign in a cell that ends it"
    assert not [row for row in rows if re.fullmatch(r".*\|\s*\|", row)], "a field without a docstring"


@pytest.mark.parametrize("page", [page for page in lists.pages() if page.name != "CHANGELOG.md"], ids=str)
def test_the_files_and_links_of_a_page_exist(page):
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\((?!\w+:|#)([^)#]+)", text):
        made = (ROOT / page).parent.joinpath(target).resolve()
        assert made.exists() or made.stem in lists.kinds(), f"{page} links to {target}, which does not exist."
    for target in re.findall(r"(?:`|\")((?:tests|ddcore|plugins|scenarios|\.ci)/[\w./]+\w)(?:`|\")", text):
        assert (ROOT / target).exists(), f"{page} names {target}, which does not exist."


def test_no_text_stands_on_two_pages():
    seen = {}
    for page in lists.pages():
        for paragraph in re.split(r"\n\n+", (ROOT / page).read_text()):
            if len(paragraph) > 200 and not paragraph.startswith(("```", "|")):
                assert seen.setdefault(paragraph, page) == page, f"{page} repeats a paragraph of {seen[paragraph]}"


def test_the_table_of_methods_holds_every_method_of_the_core_and_no_other():
    rows = re.findall(r"^\| ([^|`]+) \| `(\w+)` \|", (PAGES / "methods.md").read_text(), re.MULTILINE)
    ours = [entry.name for entry in Host().catalogue.of("method") if entry.distribution == "ddcore"]
    assert sorted(name for _, name in rows) == ours
    assert {name for purpose, name in rows if purpose.endswith("not one")} == {"cda", "edc", "gvbsm", "rded", "sre2l"}


def test_the_readme_shows_what_was_measured():
    """Its numbers of methods are those of the table."""
    table = (PAGES / "methods.md").read_text()
    measured = dict(re.findall(r"^\| [^|`]+ \| `(\w+)` \|[^|]+\|[^|]+\| ([\d.]+) ", table, re.MULTILINE))
    advice = (ROOT / "README.md").read_text().split("## Which method?")[1].split("\n## ")[0]
    for row in [line for line in advice.splitlines() if line.startswith("|") and "not meant" not in line][2:4]:
        names, numbers = re.findall(r"`(\w+)`", row), re.findall(r"\b\d\d\.\d\b", row)
        assert [measured[name] for name in names] == numbers
    assert all(measured[name] in advice for name in ("edc", "rded", "gvbsm", "sre2l", "cda"))


def test_nothing_of_the_site_is_in_the_wheel():
    (excluded,) = re.findall(r"^exclude = (\[[^]]*ddcore[^]]*\])", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert ast.literal_eval(excluded) == ["ddcore.docs*"]


GENERATED = {name: lists.MADE[name] for name in ("paths", "errors", "bounds")} | {
    kind: lambda kind=kind: lists.contract(kind) for kind in lists.kinds()
}


@pytest.mark.parametrize("name", GENERATED)
def test_generated_text_shows_no_backslash(name):
    markdown = pytest.importorskip("markdown", reason="MkDocs is not installed: pip install 'ddcore[docs]'")
    shown = unescape(re.sub(r"<[^>]+>", "", markdown.markdown(GENERATED[name](), extensions=["tables", "attr_list"])))
    assert not re.findall(r".*\\.*", shown)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a_b <c> | d* #1 [e] & f", "a_b <c> | d* #1 [e] & f"),
        ("`a_b <c> | d` and <e>", "a_b <c> | d and <e>"),
        ("x_i <= ``y_`i | <z>`` | <w>", "x_i <= y_`i | <z> | <w>"),
    ],
)
def test_plain_text_is_shown_as_it_is_also_in_a_cell(text, shown):
    markdown = pytest.importorskip("markdown", reason="MkDocs is not installed: pip install 'ddcore[docs]'")
    table = lists._table(["what", "more"], [[lists._plain(text), "last"]])
    cells = re.findall(r"<td>(.*)</td>", markdown.markdown(table, extensions=["tables"]))
    assert [unescape(re.sub(r"</?code>", "", cell)) for cell in cells] == [shown, "last"]


def test_a_list_says_whole_sentences():
    assert "f(x) . f(x'), f the input of the network's last layer. |" in lists.parts("objective")
    assert "Zhao et al. (ICLR 2021): 300 epochs" in lists.parts("protocol")
    assert "| `pixels` | ddcore | ``ipc`` items per class, each number (of an image, each pixel) learned. |" in (
        lists.parts("carrier")
    )


def test_every_name_for_authors_has_a_place():
    text = "".join([lists.face(), lists.bounds(), lists.api(), *map(lists.contract, lists.kinds())])
    shown = {*re.findall(r"\bdd\.(\w+)", text)}
    lost = {name for name, path in lists.places().items() if name not in shown and path not in lists.in_pages()}
    assert not lost
