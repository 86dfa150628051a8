"""Constants are made once for each device, but anew where they cannot be kept."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from ssdd_bench.nn.constants import kept


@pytest.fixture
def counted():
    """Return a kept function and the list of what it was called with."""
    calls = []

    @kept
    def ones(count):
        calls.append(count)
        return torch.ones(count)

    return ones, calls


def test_a_constant_is_made_once_and_serves_training(counted):
    ones, calls = counted
    weight = torch.zeros(3, requires_grad=True)
    with torch.inference_mode():
        first = ones(weight, 3)
    assert ones(weight, 3) is first
    (weight * first).sum().backward()
    assert ones(weight, 2).shape == (2,)
    assert calls == [3, 2]


def test_nothing_is_kept_where_tensors_have_no_data(counted):
    ones, calls = counted
    with FakeTensorMode():
        like = torch.zeros(1)
        assert ones(like, 3) is not ones(like, 3)
    assert calls == [3, 3]
    assert ones(torch.zeros(1), 3).sum() == 3  # and no empty tensor is left behind


@pytest.mark.medium
def test_a_compiled_graph_computes_its_own(counted):
    ones, _ = counted
    compiled = torch.compile(lambda x: x + ones(x, 3), backend="aot_eager", fullgraph=True)
    assert compiled(torch.zeros(3)).tolist() == [1.0] * 3
