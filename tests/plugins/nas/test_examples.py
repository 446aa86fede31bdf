"""The plugin's README names what there is."""

import re
from pathlib import Path

README = (Path(__file__).resolve().parents[3] / "plugins" / "nas" / "README.md").read_text()


def test_what_it_names_is_there(host):
    named = set(re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE))
    brought = {entry.name for entry in host.catalogue if entry.distribution == "ddcore-nas"}
    kinds = {entry.name for entry in host.catalogue if entry.kind in ("proxy", "space")}
    assert named == kinds & brought
