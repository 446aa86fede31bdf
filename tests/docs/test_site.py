"""The site builds without a warning, its links hold, and it asks nothing of other machines."""

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from filelock import FileLock

lists = pytest.importorskip("ddcore.docs.lists", reason="the pages lie in the tree, and what is imported is a wheel")
pytest.importorskip("mkdocs", reason="MkDocs is not installed: pip install 'ddcore[docs]'")

ROOT = Path(__file__).resolve().parents[2]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")

pytestmark = pytest.mark.slow


class Links(HTMLParser):
    """What a page links to, what it loads, and the anchors that it has."""

    LOADS = frozenset({("script", "src"), ("link", "href"), ("img", "src"), ("iframe", "src")})

    def __init__(self, path):
        super().__init__()
        self.links, self.loaded, self.anchors = [], [], set()
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in ("id", "name") and value:
                self.anchors.add(value)
            if (tag, name) == ("a", "href") and value:
                self.links.append(value)
            if (tag, name) in self.LOADS and value and ("rel", "canonical") not in attrs:
                self.loaded.append(value)


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """The site, built once for all that test it at the same time."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "site"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
            quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
            done = subprocess.run(words, cwd=ROOT, env=quiet, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr[-4000:]
    return folder


@pytest.fixture(scope="session")
def pages(built):
    return {path: Links(path) for path in built.rglob("*.html")}


def test_it_has_the_pages(built):
    for name in ("index.html", "errors/index.html", "methods/index.html", "plugins/private/index.html"):
        assert (built / name).exists()
    for kind in lists.kinds():
        assert (built / "kinds" / kind / "index.html").exists()


def test_links_and_anchors_hold(built, pages):
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or path.name == "404.html":
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            assert target.is_relative_to(built) and target.exists(), f"{path}: {link} leads nowhere"
            if parts.fragment and target.suffix == ".html":
                assert unquote(parts.fragment) in pages[target].anchors, f"{path}: {link} has no such anchor"


def test_nothing_is_loaded_from_elsewhere(pages):
    loaded = {address for page in pages.values() for address in page.loaded}
    assert not [address for address in loaded if urlsplit(address).netloc]


def test_examples_are_in_the_pages(built):
    for path in built.rglob("*.html"):
        assert "--8&lt;--" not in path.read_text("utf-8"), f"{path} shows the name of an example, not the example"


def test_no_page_shows_a_stray_backslash(built):
    for path in built.rglob("*.html"):
        prose = re.sub(r"<(pre|script|style)\b.*?</\1>|<[^>]+>", "", path.read_text("utf-8"), flags=re.DOTALL)
        assert not re.findall(r".*\\.*", prose), path


def test_a_browser_shows_it(built, tmp_path):
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"no browser is installed here: none of {', '.join(BROWSERS)}")
    page = f"file://{built / 'kinds' / 'objective' / 'index.html'}"
    words = [browser, "--headless", "--no-sandbox", f"--user-data-dir={tmp_path}", "--dump-dom", page]
    shown = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert "how far S is from T" in shown and "RootMatch" in shown
