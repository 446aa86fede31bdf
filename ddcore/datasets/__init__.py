"""Data sets: where real data come from."""

from ddcore.datasets.digits import Digits
from ddcore.datasets.folder import ImageFolder
from ddcore.datasets.npz import Npz
from ddcore.datasets.table import ScikitTable, Table
from ddcore.datasets.torchvision import Cifar10, Cifar100, Fashion, Mnist, Svhn

PARTS = (
    Cifar10,
    Cifar100,
    Digits,
    Fashion,
    ImageFolder,
    Mnist,
    Npz,
    ScikitTable,
    Svhn,
    Table,
)
