"""Parts in one line: what tells them apart, and lists of them as a person writes them."""

import pytest

from ddcore import MLP, ConvNet, RecipeRefused
from ddcore.evaluation.accuracy import Accuracy
from ddcore.evaluation.calibration import CalibrationError
from ddcore.naming import in_line, labels, parse_parts


@pytest.mark.parametrize(
    ("parts", "names"),
    [
        ((ConvNet(width=64), MLP()), ["convnet", "mlp"]),
        ((ConvNet(width=64), ConvNet()), ["convnet(width=64)", "convnet(width=none)"]),
        (
            (ConvNet(width=64, norm="batch"), MLP(), ConvNet(width=32, norm="batch"), ConvNet(width=32)),
            [
                "convnet(width=64, norm=batch)",
                "mlp",
                "convnet(width=32, norm=batch)",
                "convnet(width=32, norm=instance)",
            ],
        ),
        (
            (Accuracy(), CalibrationError(10), CalibrationError()),
            ["accuracy", "calibration_error(bins=10)", "calibration_error(bins=15)"],
        ),
    ],
)
def test_parts_are_named_by_what_tells_them_apart(parts, names):
    assert labels(parts) == names
    assert labels(parts[::-1]) == names[::-1]


def test_a_list_of_parts_is_read_as_it_is_written():
    text = "mlp, convnet(width=64, norm=batch),vgg11(),x(sizes=[1, 2], none=none)"
    tables = parse_parts(text, "--networks")
    assert tables == [
        {"name": "mlp"},
        {"name": "convnet", "width": 64, "norm": "batch"},
        {"name": "vgg11"},
        {"name": "x", "sizes": [1, 2], "none": "none"},
    ]
    assert parse_parts(", ".join(in_line(table) for table in tables), "here") == tables


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("convnet(width=64", "--networks: the brackets of .* do not match"),
        ("convnet)width=64(", "--networks: the brackets of .* do not match"),
        ("convnet(64)", "'64' in 'convnet.64.' is no field. Write FIELD=VALUE"),
        ("convnet,,mlp", "'' is no part. Write names"),
        ("convnet(width=64)x", "is no part"),
        ("conv net", "'conv net' is no part"),
    ],
)
def test_what_is_no_list_of_parts_is_refused(text, sentence):
    with pytest.raises(RecipeRefused, match=sentence):
        parse_parts(text, "--networks")
