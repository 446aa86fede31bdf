"""Docstrings as the site shows them: the few roles of reStructuredText that the sources use become code of Markdown."""

from __future__ import annotations

import re
from typing import Any

import griffe

NAMED = re.compile(r":(?:class|func|meth|mod|attr):`~?(?:([^`<]+?) <)?~?([\w.]+)>?`")


def as_markdown(text: str) -> str:
    """``text`` with its roles as code, and with the double colons before examples as single ones."""
    named = NAMED.sub(lambda found: f"`{found[1] or found[2].rpartition('.')[2]}`", text)
    return re.sub(r"(?<=\S)::$", ":", named, flags=re.MULTILINE)


class Markdown(griffe.Extension):
    """Rewrites each docstring as it is read from the sources."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value)
