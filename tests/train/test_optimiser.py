"""Averages of the schedule-free optimiser are the library's; to compute them changes nothing."""

from dataclasses import replace

import pytest
import schedulefree
import torch
from small_recipe import small
from torch import nn

from ssdd_bench.train.optimiser import ScheduleFree, make_optimiser
from ssdd_bench.train.pipeline import make_stage
from ssdd_bench.train.recipe import Recipe, load_recipe


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


@pytest.mark.medium
@pytest.mark.parametrize("decay_norms", [True, False])
def test_decay_spares_biases_and_position_tables_and_where_told_norms(decay_norms):
    recipe = small(load_recipe("mini-f8c4", Recipe))
    networks = make_stage("encoder", recipe, None).networks
    names = {id(parameter): name for name, parameter in networks.named_parameters()}
    optimiser = replace(recipe.optimiser, decay_norms=decay_norms)
    decayed, free = make_optimiser(networks, optimiser, 1e-3).param_groups
    norm = "decoder.mid_block.norm.weight"
    assert (norm in {names[id(p)] for p in decayed["params"]}) is decay_norms
    assert {names[id(p)].rsplit(".", 1)[1] for p in decayed["params"]} == {"weight"}
    kinds = {names[id(p)].rsplit(".", 1)[1] for p in free["params"]}
    assert kinds - {"weight"} == {"bias", "relative_bias_table"}
    assert decayed["weight_decay"] == optimiser.weight_decay
    assert free["weight_decay"] == 0
