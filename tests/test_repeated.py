"""Numbers measured with each of several seeds, which are kept."""

import json

import pytest

from ddcore import DdcoreError, RecipeRefused
from ddcore import plugin as dd


def test_a_seed_is_measured_once_and_what_stops_goes_on(tmp_path):
    asked = []

    def measure(seed):
        asked.append(seed)
        if len(asked) == 2:
            raise ValueError("the power is off")
        return {"accuracy": 10.0 * seed, "R@1": 0.25}

    with pytest.raises(ValueError, match="power"):
        dd.repeated(measure, [1, 2, 3], tmp_path, {"ipc": 1})
    finding = dd.repeated(measure, [1, 2, 3], tmp_path, {"ipc": 1})
    assert asked == [1, 2, 2, 3]
    assert finding.rows == [["accuracy", "20.0 ± 10.0"], ["R@1", "0.2 ± 0.0"]]
    assert json.loads((tmp_path / "finding.json").read_text()) == {"accuracy": [10, 20, 30], "R@1": [0.25] * 3}
    assert dd.repeated(measure, [3], tmp_path, {"ipc": 1}, digits=2).rows[1] == ["R@1", "0.25 ± -"]
    assert len(asked) == 4


def test_numbers_of_other_settings_are_refused_before_anything_is_measured(tmp_path):
    dd.repeated(lambda seed: {"a": 1.0}, [1], tmp_path, {"ipc": 1, "steps": (2, 3)})
    dd.repeated(lambda seed: {"a": 1.0}, [1], tmp_path, {"ipc": 1, "steps": (2, 3)})
    with pytest.raises(RecipeRefused, match=r"seed-1\.json holds numbers of other settings \(ipc, width\)"):
        dd.repeated(lambda seed: pytest.fail("measured"), [0, 1], tmp_path, {"ipc": 2, "steps": [2, 3], "width": 4})
    with pytest.raises(RecipeRefused, match="There are no seeds"):
        dd.repeated(lambda seed: {}, [], tmp_path, {})


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null", '{"numbers": {}}'])
def test_a_damaged_file_is_named(tmp_path, text):
    (tmp_path / "seed-0.json").write_text(text)
    with pytest.raises(DdcoreError, match=r"seed-0\.json is damaged .* measured again"):
        dd.repeated(lambda seed: {"a": 1.0}, [0], tmp_path, {})


def test_what_cannot_be_a_number_of_json_is_kept_as_missing(tmp_path):
    finding = dd.repeated(lambda seed: {"a": float("nan") if seed else 1.0}, [0, 1], tmp_path, {})
    assert finding.rows == [["a", "1.0 ± -"]]
