"""Studies: experiments of many cases."""

from ddcore.study.dask import Dask
from ddcore.study.engine import Local
from ddcore.study.grid import Grid
from ddcore.study.loky import Loky
from ddcore.study.ray import Ray
from ddcore.study.table import Table

PARTS = (
    Dask,
    Grid,
    Local,
    Loky,
    Ray,
    Table,
)
