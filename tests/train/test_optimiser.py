"""The schedule-free optimiser moves as the library's, bit for bit, whose swaps are tensor-wise."""

import schedulefree
import torch
from torch import nn

from ssdd_bench.train.optimiser import ScheduleFree


def test_swaps_are_those_of_the_library():
    weights = []
    for kind in (ScheduleFree, schedulefree.RAdamScheduleFree):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.Conv2d(8, 3, 3))
        unused = nn.Linear(2, 2)  # has no state
        groups = [{"params": network.parameters()}, {"params": unused.parameters()}]
        optimiser = kind(groups, lr=1e-2, betas=(0.9, 0.99))
        images = torch.randn(2, 3, 8, 8)
        optimiser.train()
        seen = []
        for _ in range(12):
            network(images).square().mean().backward()
            optimiser.step()
            optimiser.zero_grad()
            optimiser.eval()
            optimiser.eval()  # changes nothing
            seen += [p.detach().clone() for p in network.parameters()]
            optimiser.train()
        seen += [p.detach().clone() for p in network.parameters()]
        weights.append(seen)
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))
    assert not torch.equal(weights[0][0], weights[0][-5])
