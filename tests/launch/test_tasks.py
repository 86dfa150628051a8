"""Errors of workers as text: those of this package keep their type."""

from ssdd_bench.errors import OptionError, UnknownNameError
from ssdd_bench.launch.tasks import Problem


def test_an_error_of_a_worker_keeps_its_type_if_it_is_one_of_ours() -> None:
    for error in (OptionError("steps is 0"), UnknownNameError("metric", "gfidd", ["gfid"])):
        found = Problem.of(error).user_error
        assert type(found) is type(error)
        assert found.args == (str(found),) == (str(error),)
    for error in (ValueError("of a plugin"), KeyboardInterrupt()):
        assert Problem.of(error).user_error is None


def test_an_error_without_a_message_is_its_class() -> None:
    assert Problem.of(AssertionError()).describe("here") == "AssertionError (here)"
    assert Problem.of(ValueError("a\nb")).describe("here") == "ValueError: a (here)"
