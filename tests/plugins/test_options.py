"""Options: typed values from text and back, and messages that say what is allowed."""

import tomllib
from typing import Any

import pytest

from ssdd_bench.errors import OptionError, UserError
from ssdd_bench.plugins.options import OptionInfo, format_value, read_options

Options = dict[str, OptionInfo]

TABLES = """
[steps]
type = "int"
default = 1
minimum = 1
maximum = 100
help = "steps"

[shift]
type = "float"
default = 2
minimum = 0.1
help = "shift"

[path]
type = "path"
default = "~/weights"
help = "file"

[mode]
type = "str"
default = "4:2:0"
choices = ["4:2:0", "4:4:4"]
help = "colour"

[fast]
type = "bool"
default = false
help = "fast"
"""


@pytest.fixture
def options() -> Options:
    return read_options(tomllib.loads(TABLES), "tokenizer.toml", "options")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("steps", "8", 8),
        ("shift", "8", 8.0),
        ("shift", "1e-1", 0.1),
        ("path", "/a:b/c", "/a:b/c"),
        ("path", "", ""),
        ("mode", "4:4:4", "4:4:4"),
        ("fast", "true", True),
    ],
)
def test_text_becomes_a_typed_value_and_back(
    options: Options, name: str, text: str, value: Any
) -> None:
    option = options[name]
    parsed = option.parse(text)
    assert (parsed, type(parsed)) == (value, type(value))
    assert option.parse(format_value(parsed)) == parsed


@pytest.mark.parametrize("value", [0.1, 1 / 3, 8.0, 1e300, 1e-7, 123456789.0])
def test_numbers_survive_being_written(value: float) -> None:
    option = OptionInfo("x", "float", 0.0, "")
    assert option.parse(format_value(value)) == value


@pytest.mark.parametrize(
    ("name", "text", "domain"),
    [
        ("steps", "0", "an integer from 1 to 100, not 0"),
        ("steps", "101", "an integer from 1 to 100, not 101"),
        ("steps", "1.5", "an integer from 1 to 100, not '1.5'"),
        ("steps", "", "an integer from 1 to 100, not ''"),
        ("shift", "0", "a number from 0.1, not 0.0"),
        ("shift", "nan", "a number from 0.1, not nan"),
        ("shift", "inf", "a number from 0.1, not inf"),
        ("mode", "4:2:2", "one of 4:2:0, 4:4:4, not '4:2:2'"),
        ("fast", "yes", "true or false, not 'yes'"),
    ],
)
def test_refused_text_says_what_is_allowed(
    options: Options, name: str, text: str, domain: str
) -> None:
    with pytest.raises(OptionError) as caught:
        options[name].parse(text)
    assert str(caught.value) == f"option '{name}' must be {domain}"


def test_value_that_leaves_the_choice_lies_in_the_domain(options: Options) -> None:
    table = {"type": "int", "default": 1, "minimum": 1, "help": "steps"}
    assert read_options({"steps": table | {"auto": 1}}, "x.toml", "options")["steps"].auto == 1
    assert options["steps"].auto is None
    with pytest.raises(UserError, match=r"options\.steps\.auto"):
        read_options({"steps": table | {"auto": 0}}, "x.toml", "options")
