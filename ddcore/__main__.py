"""``python -m ddcore``: the command line."""

from ddcore.cli import app

if __name__ == "__main__":
    app(prog_name="ddcore")
