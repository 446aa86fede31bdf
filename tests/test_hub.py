"""Sets on the Hugging Face Hub: pushed, loaded and refused, by huggingface_hub itself before a stand-in on loopback."""

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import pytest
from typer.testing import CliRunner

import ddcore
from ddcore import RecipeRefused
from ddcore.cli import app
from ddcore.experiment.hub import Address
from ddcore.experiment.pushing import push
from ddcore.experiment.reading import zoo

pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed: pip install 'ddcore[hub]'")

TOKEN = "hf_secret_of_the_user"
SMALL = ["--networks", "mlp(width=4)", "--repeats", 1, "--set", "protocol.steps=2", "--baselines", "random"]


class StandIn(ThreadingHTTPServer):
    """What huggingface_hub needs of the Hub to list, read, make and commit to repositories of data sets."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answers)
        self.commits, self.private, self.asked, self.bodies = {}, set(), [], []
        self.url = f"http://127.0.0.1:{self.server_port}"

    def commit(self, repository, files):
        """A commit with ``files`` beside those that were there; its hash."""
        commits = self.commits.setdefault(repository, {})
        held = {**(list(commits.values())[-1] if commits else {}), **files}
        made = hashlib.sha1(repr((len(commits), sorted(held.items()))).encode()).hexdigest()
        commits[made] = held
        return made

    def files(self, repository):
        """Those of the newest commit."""
        return list(self.commits[repository].values())[-1]

    def downloads(self):
        """The names of the files that were read."""
        return {path.rpartition("/")[2] for method, path in self.asked if method == "GET" and "/resolve/" in path}


class Answers(BaseHTTPRequestHandler):
    def log_message(self, *words):
        """Nothing is printed."""

    def answer(self, status, body=b"", **headers):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def found(self, repository, revision):
        """The hash and the files of the commit that is meant, or None once it is said that there is none."""
        hub, known = self.server, self.headers["Authorization"] == f"Bearer {TOKEN}"
        if repository not in hub.commits or (repository in hub.private and not known):
            return self.answer(401, X_Error_Code="RepoNotFound")
        if repository.startswith("gated/"):
            return self.answer(403, X_Error_Code="GatedRepo")
        commits = hub.commits[repository]
        made = list(commits)[-1] if revision == "main" else revision
        return (made, commits[made]) if made in commits else self.answer(404, X_Error_Code="RevisionNotFound")

    def do_GET(self):
        path = unquote(urlsplit(self.path).path)
        self.server.asked.append((self.command, path))
        if match := re.fullmatch(r"/api/datasets/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            if found := self.found(match[1], match[2] or "main"):
                named = [{"rfilename": name} for name in found[1]]
                private = match[1] in self.server.private
                self.answer(200, {"id": match[1], "sha": found[0], "private": private, "siblings": named})
        elif match := re.fullmatch(r"/datasets/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            if found := self.found(match[1], match[2]):
                body = found[1][match[3]]
                self.answer(200, body, ETag=f'"{hashlib.sha1(body).hexdigest()}"', X_Repo_Commit=found[0])
        else:
            self.answer(500)

    def do_HEAD(self):
        self.do_GET()

    def do_POST(self):
        hub, path = self.server, urlsplit(self.path).path
        body = self.rfile.read(int(self.headers["Content-Length"]))
        hub.asked.append(("POST", path))
        hub.bodies.append(body)
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            self.answer(401, X_Error_Message="Invalid credentials in Authorization header")
        elif path == "/api/repos/create":
            told = json.loads(body)
            repository = f"{told['organization']}/{told['name']}"
            if repository in hub.commits:
                self.answer(409, {"url": f"{hub.url}/datasets/{repository}"})
                return
            hub.commit(repository, {".gitattributes": b""})
            if told.get("visibility") == "private" or told.get("private"):
                hub.private.add(repository)
            self.answer(200, {"url": f"{hub.url}/datasets/{repository}"})
        elif path == "/api/validate-yaml":
            wrong = 'license: "mine"' in json.loads(body)["content"]
            self.answer(
                400 if wrong else 200, {"errors": [{"message": '"license" must be one of ...'}], "warnings": []}
            )
        elif "/preupload/" in path:
            files = [
                {"path": one["path"], "uploadMode": "regular", "shouldIgnore": False}
                for one in json.loads(body)["files"]
            ]
            self.answer(200, {"files": files})
        elif match := re.fullmatch(r"/api/datasets/([^/]+/[^/]+)/commit/main", path):
            told = [json.loads(line) for line in body.splitlines()]
            files = {one["value"]["path"]: one["value"]["content"] for one in told if one["key"] == "file"}
            made = hub.commit(match[1], {name: base64.b64decode(content) for name, content in files.items()})
            self.answer(200, {"commitUrl": f"{hub.url}/datasets/{match[1]}/commit/{made}", "commitOid": made})


@pytest.fixture
def hub():
    with StandIn() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def elsewhere(hub, tmp_path):
    """Python that a program begins with, so that the stand-in is its Hub; ``token`` is who is logged in."""

    def say(token=TOKEN):
        own = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "NO_PROXY": "127.0.0.1"}
        own |= {"HF_TOKEN": token} if token else {}
        return f"os.environ.pop('HF_TOKEN', None)\nos.environ.update({own!r})\nos.chdir({str(tmp_path)!r})"

    return say


@pytest.fixture
def ddc(program, elsewhere):
    """Types a command of ddcore to its end; its exit status, and what it said in one line."""

    def typed(*words, token=TOKEN):
        status, said = program(*words, before=elsewhere(token)).ended()
        return status, " ".join(said.split())

    return typed


@pytest.fixture
def python(started, elsewhere):
    """Runs Python to its end; what it said."""

    def run(code, token=TOKEN):
        status, said = started(f"{elsewhere(token)}\n{code}").ended()
        assert status == 0, said
        return said.strip()

    return run


def test_a_set_is_pushed_and_evaluated_from_there(hub, ddc, python, tmp_path):
    status, said = ddc("push", "zoo:digits-dm-ipc1", "hf:me/digits", "--license", "cc0-1.0")
    assert status == 0, said
    (made,) = list(hub.commits["me/digits"])[1:]
    assert said.endswith(f"Pushed: {hub.url}/datasets/me/digits Load it with hf:me/digits@{made}")
    files = hub.files("me/digits")
    assert files.keys() == {".gitattributes", "README.md", "distilled.safetensors", "images.png"}
    assert files["distilled.safetensors"] == zoo()["digits-dm-ipc1"].read_bytes()
    assert not hub.private
    status, said = ddc("evaluate", "hf:me/digits", *SMALL, token=None)
    assert status == 0 and "dm (distilled)" in said, said
    assert (tmp_path / "digits-evaluation-own.json").exists()
    assert hub.downloads() == {"distilled.safetensors"}
    loaded = python(f"import ddcore\nprint(ddcore.load_distilled('hf:me/digits@{made}').content)")
    assert loaded.splitlines()[-1] == ddcore.load_distilled("zoo:digits-dm-ipc1").content


def test_the_page_says_what_it_is_how_to_load_it_and_what_it_is_worth(hub, ddc):
    yaml = pytest.importorskip("yaml")
    assert ddc("push", "zoo:digits-dm-ipc1", "hf:me/digits")[0] == 0
    page = hub.files("me/digits")["README.md"].decode()
    fields = yaml.safe_load(page.split("---\n")[1])
    assert fields == {
        "pretty_name": "dm on digits, 40 items",
        "tags": ["dataset-distillation", "ddcore"],
        "viewer": False,
    }
    for piece in (
        'ddcore.load_distilled("hf:me/digits")',
        "`ddcore evaluate hf:me/digits`",
        "10 288 bytes must be stored to have them, 8 bits per number",
        "![The items, one row per class](images.png)",
        "## Fair card\n\n### Trained on it: convnet",
        "Label-robust score",
        "A distilled set is not private by itself",
        "has named no licence",
        '```toml\nname = "dm"',
        "```bibtex\n@inproceedings{",
    ):
        assert piece in page
    assert re.findall(r"^# .*", page.split("```toml")[0], re.MULTILINE) == ["# dm on digits, 40 items"]


def test_a_finished_experiment_brings_its_scores_and_its_card(hub, ddc, tmp_path):
    run = tmp_path / "run"
    assert ddc("distill", "random", "--out", run, *SMALL)[0] == 0
    assert ddc("card", run, *SMALL[:-2])[0] == 0
    status, said = ddc("push", run, "hf:me/random")
    assert status == 0, said
    files = hub.files("me/random")
    page = files["README.md"].decode()
    assert "| random (distilled) |" in page and "### Trained on it: mlp" in page and "](card.png)" in page
    assert files["card.png"] == (run / "card" / "card.png").read_bytes()
    assert str(tmp_path) not in page


def test_the_page_has_the_poison_the_privacy_and_the_warnings(hub, ddc, tmp_path):
    facts = {"poisoned": [{"trigger": "patch", "target": 3}], "privacy": {"epsilon": 3.0, "delta": 1e-5}}
    told = ddcore.load_distilled("zoo:digits-dm-ipc1").with_facts(warnings=["This set is poisoned."], **facts)
    told.save(tmp_path / "told.safetensors")
    status, said = ddc("push", tmp_path / "told.safetensors", "hf:me/told", "--private")
    assert status == 0 and "Warning: This set is poisoned." in said, said
    assert hub.private == {"me/told"}
    page = hub.files("me/told")["README.md"].decode()
    assert "**Warning**: This set is poisoned." in page and '"poisoned"]' in page
    assert "## Poisoned\n\n| what | value |\n| --- | --- |\n| trigger | patch |" in page
    assert "## Privacy\n\n| what | value |\n| --- | --- |\n| epsilon | 3 |\n| delta | 1e-05 |" in page
    assert "Fair card" not in page, "of the zoo's set, which this one is not"
    status, said = ddc("evaluate", "hf:me/told", token=None)
    assert status == 2 and "or it is private and you are not logged in" in said


def test_what_is_private_does_not_go_where_all_can_read(hub, ddc):
    hub.commit("me/open", {".gitattributes": b""})
    status, said = ddc("push", "zoo:digits-dm-ipc1", "hf:me/open", "--private")
    assert status == 2 and "me/open is public already. Make it private" in said
    assert hub.files("me/open").keys() == {".gitattributes"}


def test_a_revision_is_that_commit_for_ever(hub, ddc, python):
    for name in ("digits-dm-ipc1", "digits-kfs-ipc1"):
        assert ddc("push", f"zoo:{name}", "hf:me/digits")[0] == 0
    first, second = list(hub.commits["me/digits"])[1:]
    code = "import ddcore\nfor rev in {!r}: print(ddcore.load_distilled(f'hf:me/digits@{{rev}}').method)"
    assert python(code.format([first, second, "main"])).split()[-3:] == ["dm", "kfs", "kfs"]


def test_only_the_set_is_downloaded_and_what_is_refused_is_said(hub, python):
    held = zoo()["digits-dm-ipc1"].read_bytes()
    hub.commit("me/evil", {"evil.pkl": b"x", "model.bin": b"x", "sets/a.safetensors": held})
    hub.commit("me/two", {"a.safetensors": held, "b.safetensors": held[:99]})
    hub.commit("me/none", {"model.pt": b"x"})
    hub.commit("gated/set", {"a.safetensors": held})
    places = {
        "hf:me/evil": "dm",
        "hf:me/evil/sets/a.safetensors": "dm",
        "hf:me/two/a.safetensors@main": "dm",
        "hf:me/two": "holds a.safetensors, b.safetensors. Name one: hf:me/two/a.safetensors.",
        "hf:me/two/c.safetensors": "holds no c.safetensors. It holds: a.safetensors, b.safetensors.",
        "hf:me/two/b.safetensors": "b.safetensors",
        "hf:me/none": "holds no .safetensors file, so it is no distilled set",
        "hf:me/missing": "The Hub has no data set me/missing, or it is private",
        "hf:me/evil@v9": "me/evil on the Hub has no revision v9.",
        "hf:gated/set": "ask for access on its page",
        "hf:me/a--b": "The Hub does not take me/a--b so:",
        "hf:alone": "hf:alone names no set of the Hub. Write hf:OWNER/NAME",
        "hf:me/evil/evil.pkl": "names no set of the Hub",
    }
    code = (
        "import json, ddcore\nfound = {}\nfor place in " + repr(list(places)) + ":\n    try:\n"
        "        found[place] = ddcore.load_distilled(place).method\n"
        "    except (ddcore.BadArtefact, ddcore.RecipeRefused) as error:\n        found[place] = str(error)\n"
        "print('found', json.dumps(found))"
    )
    found = json.loads(python(code, token=None).rpartition("found ")[2])
    for place, sentence in places.items():
        assert sentence in found[place], place
        assert found[place] == "dm" or found[place].endswith((".", "?"))
    assert hub.downloads() == {"a.safetensors", "b.safetensors"}


def test_who_is_not_logged_in_pushes_nothing(hub, ddc):
    status, said = ddc("push", "zoo:digits-dm-ipc1", "hf:me/digits", token=None)
    assert status == 2 and "You are not logged in to the Hub. Log in with `hf auth login`" in said
    assert hub.asked == []
    status, said = ddc("push", "zoo:digits-dm-ipc1", "hf:me/digits", token="hf_of_nobody")
    assert status == 2 and "The Hub does not let you into me/digits (401)" in said and "hf_of_nobody" not in said
    status, said = ddc("push", "zoo:digits-dm-ipc1", "hf:me/digits", "--license", "mine")
    assert status == 2 and '"license" must be one of' in said


def test_the_token_is_written_nowhere(hub, ddc, tmp_path):
    assert ddc("push", "zoo:digits-dm-ipc1", "hf:me/digits")[0] == 0
    assert ddc("evaluate", "hf:me/digits", *SMALL)[0] == 0
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert written and not any(TOKEN.encode() in one for one in (*written, *hub.bodies))


def test_a_hub_that_does_not_answer_is_said_and_no_other_place_needs_it(hub, ddc, python):
    hub.shutdown()
    hub.server_close()
    status, said = ddc("evaluate", "hf:me/digits", *SMALL)
    assert status == 2 and "The Hub cannot be reached" in said, said
    code = "import sys, ddcore\nddcore.load_distilled('zoo:digits-dm-ipc1')\nprint('huggingface_hub' in sys.modules)"
    assert python(code) == "False"


def test_without_huggingface_hub_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(RecipeRefused, match=r"pip install 'ddcore\[hub\]'"):
        ddcore.load_distilled("hf:me/digits")
    with pytest.raises(RecipeRefused, match=r"pip install 'ddcore\[hub\]'"):
        push("zoo:digits-dm-ipc1", "hf:me/digits")


def test_addresses():
    assert Address.of("hf:me/digits") == Address("me/digits")
    assert Address.of("hf:me/digits@refs/pr/1") == Address("me/digits", None, "refs/pr/1")
    assert Address.of("hf:me/digits/a/b.safetensors@v1") == Address("me/digits", "a/b.safetensors", "v1")
    for text in ("hf:", "hf:me", "hf:me/", "hf:/digits", "hf:me/digits/", "hf:me/digits/a.pt", "hf:me/digits@"):
        with pytest.raises(RecipeRefused, match="names no set of the Hub"):
            Address.of(text)
    with pytest.raises(RecipeRefused, match="name hf:me/digits alone"):
        push("zoo:digits-dm-ipc1", "hf:me/digits@v1")


def test_a_card_that_is_not_there_is_refused_before_anything_is_asked(tmp_path):
    words = ["push", "zoo:digits-dm-ipc1", "hf:me/digits", "--card", str(tmp_path)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2 and "There is no card.md in" in done.output
