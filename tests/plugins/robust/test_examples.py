"""The plugin's README names what there is."""

import re
import tomllib
from pathlib import Path

from ddcore_robust import Attacked, Linf, Pgd

from ddcore import Recipe

README = (Path(__file__).resolve().parents[3] / "plugins" / "robust" / "README.md").read_text()


def test_its_view_is_one(host):
    (written,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    assert tomllib.loads(written)["views"][0]["name"] == "pgd"
    plain = host.recipe("dm").to_toml().replace("views = []\n", "")
    recipe = Recipe.from_toml(f"{plain}\n{written}", host.catalogue)
    assert recipe.views == (Attacked(Pgd(Linf(0.1), 10), share=0.5, clean=50),)


def test_its_table_holds_every_method(host):
    rows = re.findall(r"^\| `(\w+)` \|", README.split("## Robust sets")[1], re.MULTILINE)
    assert sorted(rows) == [e.name for e in host.catalogue.of("method") if e.distribution == "ddcore-robust"]
