import pytest
import typer

from optc.cli.settings import parse


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a=1", 1),
        ("a=1e-3", 1e-3),
        ("a = 0.5", 0.5),
        ("a=true", True),
        ("a=False", False),
        ("a=-3", -3),
        ("a=cosine", "cosine"),
        ("a=x=y", "x=y"),
    ],
)
def test_a_value_has_the_type_that_its_text_spells(text, value):
    (found,) = parse([text]).values()
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("pairs", [["lr"], ["=1"], ["lr="], ["1lr=2"], ["lr=1", "lr=1"]])
def test_what_is_no_setting_is_wrong_usage(pairs):
    with pytest.raises(typer.BadParameter):
        parse(pairs)
