"""``python -m ddcore``: the command line."""

from ddcore.cli import app

app(prog_name="ddcore")
