"""Studies: experiments of many cases."""

from ddcore.study.engine import Local, Processes
from ddcore.study.grid import Grid

PARTS = (
    Grid,
    Local,
    Processes,
)
