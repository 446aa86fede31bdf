"""The page on methods says what was recorded, of every method, at the recipe that the method has now."""

import json

import pytest

methods = pytest.importorskip("ddcore.docs.methods", reason="the pages lie in the tree, what is imported is a wheel")


@pytest.fixture
def record():
    return json.loads(methods.RECORD.read_text())


def test_the_table_of_methods_is_fresh(record):
    assert methods.stale(record) == []
    page = methods.PAGE.read_text()
    assert methods.made(page, record) == page


def test_methods_of_other_recipes_those_that_are_missing_and_those_that_are_gone_are_stale(record):
    record["methods"]["dm"]["recipe"]["iterations"] = 7
    record["methods"]["haba"]["recipe"]["objective.terms"][1]["weight"] = 7
    record["methods"]["gone"] = record["methods"].pop("dc")
    assert methods.stale(record) == ["dc", "dm", "haba", "gone"]


def test_the_program_makes_table_and_picture(record, monkeypatch, tmp_path):
    page = methods.PAGE.read_text()
    monkeypatch.setattr(methods, "PAGE", tmp_path / "methods.md")
    methods.PAGE.write_text(page.replace("| `dm` |", "| `md` |"))
    methods.main()
    assert methods.PAGE.read_text() == page
    assert (tmp_path / "methods.png").stat().st_size > 50000
