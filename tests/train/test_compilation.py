"""Everything that a stage calls is compiled without a break, and computes the same."""

from dataclasses import replace

import pytest
import torch
from small_recipe import narrow

from ssdd_bench.data.images import open_images
from ssdd_bench.train import loop
from ssdd_bench.train.compilation import compile_networks, tuned_convolutions
from ssdd_bench.train.files import read_card
from ssdd_bench.train.pipeline import make_trainer
from ssdd_bench.train.recipe import SSDD_STAGES, Recipe, load_recipe

# Dynamo looks at the gradients of its inputs, also of those that have none.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")


def small():
    recipe = narrow(load_recipe("mini-f8c4", Recipe), max_side=33)
    return replace(
        recipe,
        klvae=replace(recipe.klvae, gan_start=1),
        optimiser=replace(recipe.optimiser, bf16=False),
        evaluation=replace(recipe.evaluation, images=0),
    )


@pytest.fixture(scope="module")
def photos(make_photos):
    return open_images(make_photos(4, (40, 32)))


@pytest.fixture(scope="module")
def start(photos, tmp_path_factory):
    """Weights of SSDD's first stage, not trained."""
    run = make_trainer("encoder", small(), photos, tmp_path_factory.mktemp("start"))
    return run.save_weights("last")


@pytest.fixture
def clean_dynamo():
    yield
    torch.compiler.reset()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["klvae", *(pytest.param(stage, marks=pytest.mark.nightly) for stage in SSDD_STAGES)],
)
def test_every_network_that_is_called_is_compiled(name, photos, start, tmp_path, clean_dynamo):
    begin = start if name in SSDD_STAGES[1:] else None
    weights, graphs = [], {}
    for compiled in (False, True):
        run = make_trainer(name, small(), photos, tmp_path / str(compiled), begin)
        run.evaluator = None
        parts = run.stage.called()
        if run.discriminator is not None:
            parts = [*parts, *run.discriminator.children()]
        if compiled:
            for number, part in enumerate(parts):

                def backend(graph, inputs, number=number):
                    graphs[number] = graphs.get(number, 0) + 1
                    return graph.forward

                compile_networks([part], backend)
        list(run.run(2))
        weights.append(run.averaged_weights())
    assert graphs.keys() == set(range(len(parts)))
    # One graph each, or two where gradients are needed or not: a break would make more.
    assert max(graphs.values()) <= 3
    for key, value in weights[0].items():
        torch.testing.assert_close(weights[1][key], value, rtol=1e-3, atol=1e-4)


@pytest.mark.nightly
def test_adaptive_weight_goes_through_a_compiled_graph_twice(photos, tmp_path, clean_dynamo):
    """A buffer that the first backward pass may overwrite would end the second one."""
    run = make_trainer("klvae", small(), photos, tmp_path)
    run.evaluator = None
    compile_networks([*run.stage.called(), *run.discriminator.children()], "aot_eager")
    list(run.run(3))
    assert torch.isfinite(run.averaged_weights()["vae.decoder.conv_out.weight"]).all()


def test_algorithms_are_tried_in_training_alone():
    before = torch.backends.cudnn.benchmark
    with tuned_convolutions():
        assert torch.backends.cudnn.benchmark
    assert torch.backends.cudnn.benchmark is before


@pytest.mark.medium
@pytest.mark.parametrize(
    ("wanted", "there", "dtype"),
    [
        (True, True, torch.bfloat16),
        (True, False, torch.float32),
        (False, True, torch.float32),
    ],
)
def test_bfloat16_is_for_recipes_that_allow_it_on_devices_that_have_it(
    photos, tmp_path, monkeypatch, wanted, there, dtype
):
    monkeypatch.setattr(loop, "has_kernels", lambda dtype, device: there)
    recipe = small()
    recipe = replace(recipe, optimiser=replace(recipe.optimiser, bf16=wanted))
    run = make_trainer("encoder", recipe, photos, tmp_path)
    with run._autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype
    weights = run.save_weights("last")
    assert read_card(weights).bf16 == (dtype == torch.bfloat16)
