"""Costs before a training, and hours that follow from a data sheet."""

import subprocess
import sys
from dataclasses import replace

import pytest

from ssdd_bench.results.records import read_json
from ssdd_bench.train.cost import GPUS, UTILISATION, stage_cost
from ssdd_bench.train.known import KNOWN, operations_key
from ssdd_bench.train.operations import count_operations
from ssdd_bench.train.recipe import STAGES, Recipe, load_recipe, recipe_names

MINI = load_recipe("mini-f8c4", Recipe)


@pytest.mark.parametrize("name", recipe_names())
def test_operations_of_every_shipped_recipe_are_known(name):
    recipe = load_recipe(name, Recipe)
    stages = [stage for stage in STAGES if recipe.stage(stage).iterations]
    assert {operations_key(stage, recipe) for stage in stages} <= read_json(KNOWN).keys()


@pytest.mark.slow
def test_known_operations_are_those_that_torch_counts():
    counted = count_operations("distil", MINI)
    cost = stage_cost("distil", MINI)
    assert (cost.parameters, cost.activation_bytes) == (
        counted.parameters,
        counted.activation_bytes,
    )
    teacher = MINI.distil.teacher_steps * counted.decoder_macs
    assert cost.gmac_per_image == pytest.approx((counted.macs + teacher) / 1e9)


def test_hours_follow_from_operations_and_utilisation():
    cost = stage_cost("encoder", MINI)
    gpu = next(one for one in GPUS if one.name == "A100 SXM")
    flops = 2e9 * cost.gmac_per_image * cost.images
    assert gpu.hours(cost, bf16=True) * 3600 * 312e12 * UTILISATION == pytest.approx(flops)
    assert gpu.hours(cost, bf16=False) / gpu.hours(cost, bf16=True) == pytest.approx(312 / 19.5)
    longer = replace(cost, images=2 * cost.images)
    assert gpu.hours(longer, bf16=True) == pytest.approx(2 * gpu.hours(cost, bf16=True))


@pytest.mark.parametrize("change", ["size", "z_dim", "f", "encoder_base"])
def test_other_networks_have_another_key(change):
    other = {"size": "S", "z_dim": 5, "f": 16, "encoder_base": 7}[change]
    recipe = replace(MINI, model=replace(MINI.model, **{change: other}))
    assert operations_key("distil", recipe) != operations_key("distil", MINI)
    bf16 = replace(MINI.optimiser, bf16=not MINI.optimiser.bf16)
    assert operations_key("distil", replace(MINI, optimiser=bf16)) != operations_key("distil", MINI)


@pytest.mark.medium
def test_plan_needs_no_torch():
    code = (
        "import sys; from ssdd_bench.cli.main import cli; "
        "cli.main(['train', 'ssdd', '--recipe', 'paper-f8c4-M', '--plan', '--json'],"
        " standalone_mode=False); sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert '"H100 SXM"' in done.stdout
