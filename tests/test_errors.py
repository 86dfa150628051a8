"""Errors for users: what they propose."""

import pytest

from ssdd_bench.errors import UnknownNameError

KNOWN = ("jpeg", "klvae", "nano", "ssdd")


@pytest.mark.parametrize(
    ("name", "hint"), [("jpge", "did you mean jpeg?"), ("nope", "known: jpeg")]
)
def test_a_name_like_none_gets_the_list_and_no_guess(name: str, hint: str) -> None:
    assert hint in str(UnknownNameError("tokenizer", name, KNOWN))
