"""The sentences that errors are raised with, read from the sources."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ddcore import errors

MARK = "…"
"""What stands for a value in a sentence."""


def classes() -> Mapping[str, type[Exception]]:
    """The errors that ddcore raises on purpose, by name."""
    return {
        name: cls
        for name, cls in vars(errors).items()
        if isinstance(cls, type) and issubclass(cls, errors.DdcoreError | errors.StopRun)
    }


def raised(files: Iterable[Path]) -> dict[str, list[str]]:
    """For each error of :func:`classes` the sentences that ``files`` raise it with, in alphabetical order."""
    found: dict[str, set[str]] = {name: set() for name in classes()}
    for file in files:
        for name, sentence in _sentences(ast.parse(file.read_text("utf-8"))):
            found[name].add(sentence)
    return {name: sorted(sentences) for name, sentences in found.items()}


def _sentences(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args):
        name = ast.unparse(call.func).rpartition(".")[2]
        if name in classes() and (sentence := " ".join(_text(call.args[0]).split())).strip(f"{MARK} "):
            yield name, f"There is no {sentence} named {MARK}." if name == "UnknownName" else sentence


def _text(node: ast.expr) -> str:
    """What ``node`` says, each value in it as a mark."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(value) for value in node.values)
    if isinstance(node, ast.BinOp):
        return _text(node.left) + _text(node.right)
    return MARK
