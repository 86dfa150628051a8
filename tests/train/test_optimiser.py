"""Averages of the schedule-free optimiser are the library's; to compute them changes nothing."""

import schedulefree
import torch
from torch import nn

from ssdd_bench.train.optimiser import ScheduleFree


def test_averages_are_those_of_the_library_and_leave_the_weights_alone():
    found = []
    for kind in (ScheduleFree, schedulefree.RAdamScheduleFree):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.Conv2d(8, 3, 3))
        unused = nn.Linear(2, 2)  # has no state
        groups = [{"params": network.parameters()}, {"params": unused.parameters()}]
        optimiser = kind(groups, lr=1e-2, betas=(0.9, 0.99))
        images = torch.randn(2, 3, 8, 8)
        optimiser.train()
        for step in range(12):
            if kind is ScheduleFree and step % 3 == 0:
                optimiser.averages()
            network(images).square().mean().backward()
            optimiser.step()
            optimiser.zero_grad()
        weights = [p.detach().clone() for p in network.parameters()]
        if kind is ScheduleFree:
            averages = optimiser.averages()
            assert averages.keys() == {id(p) for p in network.parameters()}
            assert all(map(torch.equal, network.parameters(), weights))
            found.append([*weights, *(averages[id(p)] for p in network.parameters())])
        else:
            optimiser.eval()
            found.append([*weights, *(p.detach() for p in network.parameters())])
    assert all(map(torch.equal, *found))
    assert not torch.equal(found[0][0], found[0][6])
