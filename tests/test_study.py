"""Studies: settings, resume, what they leave."""

import json
from dataclasses import dataclass

import pytest
from typer.testing import CliRunner

import ddcore
from ddcore import Finding, Host, RecipeRefused, Study, run_study
from ddcore.cli import app


@dataclass(frozen=True)
class Count(Study):
    """Counts to a number, one file a step."""

    to: int = 3
    data: ddcore.DataSet = ddcore.plugin.Digits()

    def conduct(self, folder, host, device, progress):
        made = 0
        for i in range(self.to):
            if not (folder / f"{i}.txt").exists():
                (folder / f"{i}.txt").write_text(device)
                made += 1
            if progress:
                progress("counting", i + 1, self.to)
        return Finding(["counted", "made"], [[str(self.to), str(made)]], {"made": made}, "It can count.")


def test_a_study_leaves_its_finding_and_goes_on_where_it_stopped(tmp_path):
    told = []
    study = Count(to=3)
    finding = run_study(study, tmp_path / "s", device="cpu", progress=lambda *said: told.append(said))
    assert finding.numbers == {"made": 3}
    assert told[-1] == ("counting", 3, 3)
    assert json.loads((tmp_path / "s" / "finding.json").read_text()) == {"study": "count", "made": 3}
    report = (tmp_path / "s" / "report.md").read_text()
    assert "| counted | made |" in report
    assert "It can count." in report
    assert 'name = "digits"' in report
    (tmp_path / "s" / "1.txt").unlink()
    assert run_study(study, tmp_path / "s").numbers == {"made": 1}


def test_another_study_in_the_folder_is_refused_and_left_alone(tmp_path):
    run_study(Count(to=1), tmp_path)
    before = (tmp_path / "finding.json").read_text()
    with pytest.raises(RecipeRefused, match="holds a study with other settings"):
        run_study(Count(to=2), tmp_path)
    assert (tmp_path / "finding.json").read_text() == before


def test_a_folder_where_nothing_has_begun_takes_other_settings_and_one_of_an_experiment_none(tmp_path):
    (tmp_path / "study.toml").write_text('name = "count"\nto = 9\n')
    run_study(Count(to=2), tmp_path)
    other = tmp_path / "experiment"
    other.mkdir()
    (other / "recipe.toml").write_text("")
    with pytest.raises(RecipeRefused, match="holds an experiment"):
        run_study(Count(to=2), other)
    assert [path.name for path in other.iterdir()] == ["recipe.toml"]
    with pytest.raises(RecipeRefused, match="The device 'nowhere' cannot be used"):
        run_study(Count(to=2), tmp_path, device="nowhere")


class Plugin:
    @staticmethod
    @ddcore.hookimpl
    def ddcore_parts():
        return [Count]


def call(monkeypatch, *words):
    host = Host({"counting": Plugin()})
    monkeypatch.setattr("ddcore.host.Host", lambda: host)
    return CliRunner().invoke(app, ["study", *map(str, words)])


def test_on_the_command_line(monkeypatch, tmp_path):
    out = tmp_path / "out"
    done = call(monkeypatch, "count", "--set", "to=2", "--data", "mnist", "--root", tmp_path, "--out", out)
    assert done.exit_code == 0, done.output
    assert "It can count." in done.output
    text = (out / "study.toml").read_text()
    assert "to = 2" in text
    assert f'root = "{tmp_path}"' in text


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["coumt"], "no study named 'coumt'. Did you mean count"),
        (["count", "--set", "too=2"], "no field of count named 'too'"),
        (["count", "--set", "to=many"], "to = 'many' is not usable"),
        (["count", "--data", "mnst"], "no data named 'mnst'"),
    ],
)
def test_mistakes_have_a_sentence_and_leave_nothing(monkeypatch, tmp_path, words, sentence):
    done = call(monkeypatch, *words, "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert sentence in " ".join(done.output.split())
    assert not (tmp_path / "out").exists()
