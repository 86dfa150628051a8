"""Errors for users: what they propose."""

import pytest

from ssdd_bench.errors import UnknownNameError, describe_error

KNOWN = ("jpeg", "klvae", "nano", "ssdd")


@pytest.mark.parametrize(
    ("name", "hint"), [("jpge", "did you mean jpeg?"), ("nope", "known: jpeg")]
)
def test_a_name_like_none_gets_the_list_and_no_guess(name: str, hint: str) -> None:
    assert hint in str(UnknownNameError("tokenizer", name, KNOWN))


@pytest.mark.parametrize(
    ("text", "described"),
    [("a\nb", "ValueError: a"), ("\n a\nb", "ValueError: a"), (" ", "ValueError")],
)
def test_an_error_is_described_by_the_first_line_that_says_something(text, described) -> None:
    assert describe_error(ValueError(text)) == described
