"""Every stage learns, stops, resumes bit for bit and exports what its tokenizer loads."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small_recipe import small

from ssdd_bench.data.images import open_images
from ssdd_bench.errors import DataError, OptionError, UserError, WeightsError
from ssdd_bench.launch.signals import Terminated
from ssdd_bench.nn.encoder import DiagonalGaussian
from ssdd_bench.ssdd.checkpoints import load_ssdd
from ssdd_bench.train.files import (
    Scores,
    load_checkpoint,
    read_card,
    save_checkpoint,
    save_weights,
)
from ssdd_bench.train.pipeline import finish, make_stage, make_trainer, start_file
from ssdd_bench.train.recipe import RECIPES, SSDD_STAGES, STAGES, Recipe, load_recipe

pytestmark = pytest.mark.usefixtures("quick_effnet")


RECIPE = small(load_recipe("mini-f8c4", Recipe))


@pytest.fixture(scope="module")
def photos(make_photos):
    return open_images(make_photos(10, (64, 48)))


@pytest.fixture(scope="module")
def earlier(photos, tmp_path_factory):
    """A folder with weights of the first three stages of SSDD, not trained."""
    out = tmp_path_factory.mktemp("earlier")
    for name in SSDD_STAGES[:3]:
        run = trainer(name, photos, out)
        run.save_weights("last")
        run.save_weights("best")
    return out


def trainer(name, photos, out, earlier=None, recipe=RECIPE, score=False):
    start = start_file(name, recipe, earlier or out)
    made = make_trainer(name, recipe, photos, out, start, command="test")
    if not score:
        made.evaluator = None
    return made


def scores(fd_effnet):
    return Scores({"fd_effnet": fd_effnet}, "2 photos", 2, 64, "default-v1", steps=None, seed=0)


def ready(run):
    """Put everything into training mode, and give the run's batches."""
    run.start()
    return run.batches()


@pytest.mark.slow
@pytest.mark.parametrize("name", STAGES)
def test_resumed_run_equals_one_that_was_not_stopped(name, photos, earlier, tmp_path):
    whole = trainer(name, photos, tmp_path / "whole", earlier)
    list(whole.run(9))
    # In the middle of an epoch, and after the average and the discriminator have started.
    list(trainer(name, photos, tmp_path / "halves", earlier).run(7))
    second = trainer(name, photos, tmp_path / "halves", earlier)
    second.resume()
    assert second.iteration == 7
    list(second.run(9))
    states = [
        (run.stage.networks.state_dict(), run.stage.auxiliary.state_dict(), run.averaged_weights())
        for run in (whole, second)
    ]
    for a, b in zip(*states, strict=True):
        assert a.keys() == b.keys()
        assert all(torch.equal(a[key], b[key]) for key in a)
    if name == "klvae":
        a, b = (run.discriminator.state_dict() for run in (whole, second))
        assert all(torch.equal(a[key], b[key]) for key in a)
    start = make_stage(name, RECIPE, start_file(name, RECIPE, earlier)).networks.state_dict()
    assert any(not torch.equal(start[key], value) for key, value in states[0][0].items())


@pytest.mark.slow
def test_a_run_does_not_depend_on_when_it_is_saved(photos, tmp_path):
    """Before the EMA starts too; RAdam moves nothing in its first iterations."""
    late = replace(RECIPE, optimiser=replace(RECIPE.optimiser, ema_start=50_000))
    runs = [trainer("encoder", photos, tmp_path / name, recipe=late) for name in "ab"]
    runs[1].stage.load_state_dict(runs[0].stage.state_dict())
    for run, saves in zip(runs, (False, True), strict=True):
        batches = ready(run)
        for _ in range(14):
            run.step(batches)
            if saves:
                run.save()
    assert not runs[0].ema.weights
    for parts in ("networks", "auxiliary"):
        a, b = (getattr(run.stage, parts).state_dict() for run in runs)
        assert all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.slow
def test_a_stage_hands_on_the_averages_of_all_that_it_trains(photos, tmp_path):
    late = replace(RECIPE, optimiser=replace(RECIPE.optimiser, ema_start=50_000))
    run = trainer("encoder", photos, tmp_path, recipe=late)
    batches = ready(run)
    for _ in range(10):
        run.step(batches)
    run.save_weights("last")
    moved = {**run.stage.networks.state_dict(), **run.stage.auxiliary.state_dict()}
    moved = {name: value.clone() for name, value in moved.items()}
    run.optimiser.eval()
    averages = {**run.stage.networks.state_dict(), **run.stage.auxiliary.state_dict()}
    files = [run.out / "last.safetensors", run.out / "last-auxiliary.safetensors"]
    written = load_file(files[0]) | load_file(files[1])
    assert written.keys() == averages.keys()
    assert all(torch.equal(value, averages[name]) for name, value in written.items())
    name = "repa.head.0.weight"
    assert not torch.equal(written[name], moved[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["klvae", pytest.param("encoder", marks=pytest.mark.slow)])
def test_loss_falls(name, photos, tmp_path):
    gentle = replace(RECIPE.klvae, gan_weight=0.0)
    run = trainer(name, photos, tmp_path, recipe=replace(RECIPE, klvae=gentle))
    images = next(ready(run))
    losses = [float(sum(run.step(iter([images])).values())) for _ in range(30)]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])


@pytest.mark.slow
def test_distillation_approaches_the_teacher_and_leaves_it_alone(photos, earlier, tmp_path):
    run = trainer("distil", photos, tmp_path, earlier)
    stage = run.stage
    # A teacher that was hardly trained is already followed by its copy.
    torch.nn.init.normal_(stage.student.conv_out.weight, std=0.05)
    images = next(ready(run))
    assert not stage.teacher.training
    frozen = {
        name: {k: v.clone() for k, v in getattr(stage, name).state_dict().items()}
        for name in ("encoder", "teacher")
    }
    losses = [run.step(iter([images]))["flow"].item() for _ in range(30)]
    assert max(losses[-5:]) < 0.8 * losses[0]
    for name, before in frozen.items():
        after = getattr(stage, name).state_dict()
        assert all(torch.equal(before[k], v) for k, v in after.items())


@pytest.mark.slow
def test_frozen_encoder_is_sampled_in_training_and_its_mean_is_distilled(
    photos, earlier, tmp_path, monkeypatch
):
    used = []
    for kind in ("sample", "mode"):
        real = getattr(DiagonalGaussian, kind)

        def noted(self, *args, kind=kind, real=real, **kwargs):
            used.append(kind)
            return real(self, *args, **kwargs)

        monkeypatch.setattr(DiagonalGaussian, kind, noted)
    for name, expected in (("pretrain", "sample"), ("finetune", "sample"), ("distil", "mode")):
        used.clear()
        run = trainer(name, photos, tmp_path / name, earlier)
        run.step(ready(run))
        assert used == [expected]


@pytest.mark.slow
def test_pretraining_keeps_the_encoder_and_can_start_a_new_decoder(earlier):
    first = load_file(earlier / "encoder" / "last.safetensors")
    for new in (True, False):
        recipe = replace(RECIPE, pretrain=replace(RECIPE.pretrain, new_decoder=new))
        made = make_stage("pretrain", recipe, start_file("pretrain", recipe, earlier))
        state = made.exported(made.networks.state_dict())
        assert state.keys() == first.keys()
        same = {k: torch.equal(state[k], first[k]) for k in state}
        assert all(same[k] for k in state if k.startswith("encoder."))
        assert all(same[k] for k in state if k.startswith("decoder.")) is not new


@pytest.mark.slow
@pytest.mark.parametrize("name", ["klvae", "encoder", "distil"])
def test_accumulated_parts_are_the_batch(name, photos, earlier, tmp_path):
    every = []
    for accumulate in (1, 2):
        parts = {"batch_size": 4, "accumulate": accumulate}
        table = replace(
            RECIPE.stage(name), **parts, **({"gan_weight": 0.0} if name == "klvae" else {})
        )
        exact = replace(RECIPE.optimiser, bf16=False, clip=1e9)
        recipe = replace(RECIPE, **{name: table}, optimiser=exact)
        run = trainer(name, photos, tmp_path / str(accumulate), earlier, recipe=recipe)
        run.optimiser.zero_grad = lambda set_to_none=True: None
        run.iteration = 3
        run.step(ready(run))
        every.append({key: weight.grad for key, weight in run.stage.named_parameters()})
    whole, halves = every
    largest = max(grad.abs().max() for grad in whole.values() if grad is not None)
    for key, grad in whole.items():
        if grad is not None:
            torch.testing.assert_close(halves[key], grad, rtol=1e-3, atol=float(1e-5 * largest))


@pytest.mark.medium
def test_a_long_gradient_is_cut_to_the_length_that_the_recipe_allows(photos, tmp_path):
    exact = replace(RECIPE.optimiser, bf16=False, clip=1e-3)
    run = trainer("klvae", photos, tmp_path, recipe=replace(RECIPE, optimiser=exact))
    batches, lengths = ready(run), []

    def see() -> None:
        grads = [weight.grad.norm() for weight in run.stage.networks.parameters()]
        lengths.append(torch.stack(grads).norm().item())

    run.optimiser.step = see
    run.step(batches)
    assert lengths == [pytest.approx(1e-3, rel=1e-2)]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["klvae", "distil", "finetune"])
def test_finished_stage_is_scored_drawn_and_exported(name, photos, earlier, tmp_path):
    run = trainer(name, photos, tmp_path, earlier, score=True)
    list(run.run(1))
    folder = tmp_path / name
    last, card = (read_card(folder / f"{kind}.safetensors") for kind in ("last", "best"))
    assert last.scores == card.scores
    assert set(card.scores.metrics) == {"fd_effnet", "psnr", "ssim"}
    assert card.scores.steps == {"klvae": None, "finetune": 2, "distil": 1}[name]
    assert (card.iterations, card.images_seen, card.scores.n) == (1, 2, 2)
    assert card.recipe["loss"]["perceptual"] == card.recipe["loss"]["repa"] == "effnet-lite1"
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["kind"] == "evaluation"
    assert len(list((folder / "samples").glob("*.png"))) == 1
    assert load_checkpoint(folder / "checkpoint.pt")["best"] == -card.scores.metrics["fd_effnet"]
    shipped = finish(run)
    assert shipped == tmp_path / f"{name}.safetensors"
    assert read_card(shipped) == card
    assert {v.dtype for v in load_file(shipped).values()} == {torch.float16}
    if name == "klvae":
        assert card.config["latent_channels"] == 4
    else:
        encoder, decoder = load_ssdd(shipped)
        assert (encoder.f, encoder.z_dim, decoder.z_dim) == (8, 4, 4)


@pytest.mark.slow
def test_card_tells_what_the_stages_before_cost(photos, tmp_path):
    for name in SSDD_STAGES[:3]:
        run = trainer(name, photos, tmp_path)
        list(run.run(1))
        run.save_weights("best")
    run = trainer("distil", photos, tmp_path)
    before = run.origin.before
    assert [cost.stage for cost in before] == list(SSDD_STAGES[:3])
    assert {cost.images_seen for cost in before} == {2}


@pytest.mark.slow
def test_a_stage_in_between_is_no_tokenizer(photos, earlier):
    assert finish(trainer("pretrain", photos, earlier)) is None


@pytest.mark.slow
def test_best_weights_are_kept_when_later_ones_are_worse(photos, tmp_path, monkeypatch):
    recipe = replace(RECIPE, klvae=replace(RECIPE.klvae, evaluate_every=1))
    run = trainer("klvae", photos, tmp_path, recipe=recipe, score=True)
    values = iter([30.0, 10.0, 20.0])
    monkeypatch.setattr(run.evaluator, "score", lambda *args: scores(next(values)))
    run.evaluator._higher_is_better = False
    list(run.run(3))
    cards = [read_card(tmp_path / "klvae" / f"{k}.safetensors") for k in ("last", "best")]
    assert [card.iterations for card in cards] == [3, 2]
    again = trainer("klvae", photos, tmp_path, recipe=recipe)
    again.resume()
    assert again.best == -10.0


@pytest.mark.slow
def test_scores_that_failed_are_measured_by_the_next_run(photos, tmp_path, monkeypatch):
    """The machine stopped between the last iteration and the end of its evaluation."""

    def resumed(score):
        run = trainer("klvae", photos, tmp_path, score=True)
        monkeypatch.setattr(run.evaluator, "score", score)
        run.evaluator._higher_is_better = False
        run.resume()
        list(run.run(1))
        return read_card(tmp_path / "klvae" / "last.safetensors").scores

    def fails(*args):
        raise RuntimeError

    with pytest.raises(RuntimeError):
        resumed(fails)
    assert not (tmp_path / "klvae" / "best.json").exists()
    assert resumed(lambda *args: scores(10.0)) == scores(10.0)
    assert resumed(fails) == scores(10.0)


@pytest.mark.medium
def test_weights_that_were_not_written_are_written_by_the_next_run(photos, tmp_path):
    """The machine stopped between the checkpoint and the weights."""
    weights = tmp_path / "klvae" / "last.safetensors"
    for _ in range(2):
        run = trainer("klvae", photos, tmp_path)
        run.resume()
        list(run.run(1))
        weights.unlink()  # which fails where the second run did not write them
    assert run.iteration == 1


@pytest.mark.slow
def test_discriminator_takes_part_after_its_start_and_learns(photos, tmp_path):
    run = trainer("klvae", photos, tmp_path)
    start = run.discriminator.layers[0].weight.detach().clone()
    batches = ready(run)
    terms = [set(run.step(batches)) for _ in range(2)]
    assert terms[1] == {"l1", "perceptual", "kl"}
    assert torch.equal(run.discriminator.layers[0].weight, start)
    # The first updates of rectified Adam are of length zero.
    terms = [set(run.step(batches)) for _ in range(8)]
    assert terms[0] == {"l1", "perceptual", "kl", "gan", "discriminator"}
    assert not torch.equal(run.discriminator.layers[0].weight, start)


@pytest.mark.medium
@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]
)
def test_signal_writes_a_checkpoint(number, error, photos, tmp_path, monkeypatch):
    run = trainer("klvae", photos, tmp_path)
    step = run.step

    def interrupted(parts):
        signal.raise_signal(number)
        return step(parts)

    monkeypatch.setattr(run, "step", interrupted)
    with pytest.raises(KeyboardInterrupt) as raised:
        list(run.run(10))
    assert raised.type is error
    assert load_checkpoint(run.checkpoint_path)["iteration"] == 1


@pytest.mark.medium
def test_nan_names_the_term_and_keeps_the_last_good_checkpoint(photos, tmp_path):
    run = trainer("klvae", photos, tmp_path)
    list(run.run(2))
    next(iter(run.stage.networks.parameters())).data.fill_(float("nan"))
    with pytest.raises(UserError, match=r"'l1' is nan at iteration 2: .*checkpoint\.pt"):
        list(run.run(4))
    assert load_checkpoint(run.checkpoint_path)["iteration"] == 2


@pytest.mark.medium
def test_an_unreadable_image_is_named_and_nothing_is_lost(photos, tmp_path, monkeypatch):
    run = trainer("klvae", photos, tmp_path)
    read = photos.read
    ids = run.data.ids
    bad = ids[np.random.default_rng([0, 0, 0]).permutation(len(ids))[5]]

    def some(name):
        if name == bad:
            raise DataError("cannot decode: truncated")
        return read(name)

    monkeypatch.setattr(photos, "read", some)
    with pytest.raises(DataError, match=f"{bad}: cannot decode: truncated"):
        list(run.run(10))
    assert load_checkpoint(run.checkpoint_path)["iteration"] == 2


def refused(run):
    """The inputs that an error of resuming names."""
    with pytest.raises(UserError, match="--restart") as caught:
        run.resume()
    return {
        name for name in ("recipe", "images", "start weights") if f" {name} " in str(caught.value)
    }


@pytest.mark.medium
def test_other_recipe_is_not_resumed(photos, tmp_path):
    trainer("klvae", photos, tmp_path).save()
    other = replace(RECIPE, klvae=replace(RECIPE.klvae, lr=1.0))
    assert refused(trainer("klvae", photos, tmp_path, recipe=other)) == {"recipe"}


@pytest.mark.medium
def test_a_checkpoint_of_an_earlier_version_is_not_resumed(photos, tmp_path):
    run = trainer("klvae", photos, tmp_path)
    save_checkpoint(run.checkpoint_path, {"identity": run.identity["recipe"]})
    assert refused(run)


@pytest.mark.slow
def test_other_images_are_not_resumed_and_moved_ones_are(make_photos, tmp_path):
    folder = shutil.copytree(make_photos(10, (64, 48)), tmp_path / "photos")
    trainer("klvae", open_images(folder), tmp_path).save()
    moved = folder.rename(tmp_path / "moved")
    trainer("klvae", open_images(moved, max_image_mb=9), tmp_path).resume()

    held = replace(RECIPE, evaluation=replace(RECIPE.evaluation, holdout=0.3))
    assert refused(trainer("klvae", open_images(moved), tmp_path, recipe=held)) == {"images"}
    first, *_, last = sorted(moved.iterdir())
    pixels = first.read_bytes()
    shutil.copy(last, first)  # the same ids
    assert refused(trainer("klvae", open_images(moved), tmp_path)) == {"images"}
    first.write_bytes(pixels)
    shutil.copy(first, moved / f"one-more{first.suffix}")
    assert refused(trainer("klvae", open_images(moved), tmp_path)) == {"images"}


@pytest.mark.slow
@pytest.mark.parametrize("new_decoder", [True, False])
def test_other_start_weights_are_not_resumed_and_moved_ones_are(
    new_decoder, photos, earlier, tmp_path
):
    recipe = replace(RECIPE, pretrain=replace(RECIPE.pretrain, new_decoder=new_decoder))
    start = shutil.copytree(earlier / "encoder", tmp_path / "encoder") / "last.safetensors"
    out = tmp_path / "out"
    run = make_trainer("pretrain", recipe, photos, out, start)
    run.iteration = 1
    run.save()
    again = make_trainer("pretrain", recipe, photos, out, earlier / "encoder" / start.name)
    again.resume()
    assert again.iteration == 1

    for name, is_used in ((start.name, True), ("last-auxiliary.safetensors", not new_decoder)):
        file = start.with_name(name)
        before = load_file(file)
        save_weights(file, {key: value + 0.5 for key, value in before.items()})
        other = make_trainer("pretrain", recipe, photos, out, start)
        if is_used:
            assert refused(other) == {"start weights"}
        else:
            other.resume()
        save_weights(file, before)
    other = make_trainer("pretrain", recipe, photos, out, start)
    other.resume()
    assert other.iteration == 1


@pytest.mark.medium
@pytest.mark.parametrize("other", [{"f": 16}, {"z_dim": 8}])
@pytest.mark.parametrize("stage", ["pretrain", "distil"])
def test_start_weights_of_another_latent_are_refused(stage, other, earlier):
    recipe = replace(RECIPE, model=replace(RECIPE.model, **other))
    start = earlier / "finetune" / "last.safetensors"
    with pytest.raises(OptionError, match=r"last\.safetensors has an encoder of f8c4, the recipe"):
        make_stage(stage, recipe, start)


@pytest.mark.medium
def test_trackers_get_the_numbers_of_the_log(photos, tmp_path):
    run = trainer("klvae", photos, tmp_path)
    seen = []
    run.log.trackers.log = lambda values, step: seen.append((step, values))
    list(run.run(1))
    (row,) = map(json.loads, (tmp_path / "klvae" / "metrics.jsonl").read_text().splitlines())
    ((step, values),) = seen
    assert step == row.pop("iteration") == 1
    assert values == {f"{row['kind']}/{key}": row[key] for key in row.keys() - {"kind"}}


@pytest.mark.slow
def test_losses_are_not_read_in_every_iteration(photos, tmp_path, monkeypatch):
    plain = replace(RECIPE, klvae=replace(RECIPE.klvae, gan_weight=0.0))
    run = trainer("klvae", photos, tmp_path, recipe=plain)
    reads = []
    read = run.losses.read
    monkeypatch.setattr(run.losses, "read", lambda: (reads.append(run.iteration), read())[1])
    reports = list(run.run(11))
    assert set(reads) == {10, 11}
    assert [state.iteration for state in reports] == [10, 11]


@pytest.mark.medium
def test_damaged_checkpoint(photos, tmp_path):
    run = trainer("klvae", photos, tmp_path)
    run.checkpoint_path.write_bytes(b"no checkpoint")
    with pytest.raises(WeightsError, match="no training state"):
        run.resume()


def test_killed_while_writing_keeps_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"iteration": 1})

    def half(state, target):
        target.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, {"iteration": 2})
    assert load_checkpoint(path) == {"iteration": 1}
    assert list(tmp_path.iterdir()) == [path]


FULL = """
import resource, signal, sys
from pathlib import Path
import torch
from ssdd_bench.errors import OutputError
from ssdd_bench.train.files import save_checkpoint
from ssdd_bench.train.log import MetricsLog
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
folder = Path(sys.argv[1])
log = MetricsLog(folder)
for write in (
    lambda: save_checkpoint(folder / "checkpoint.pt", {"weights": torch.zeros(10_000)}),
    lambda: [log.add("train", iteration, {"l1": 0.5}) for iteration in range(100)],
):
    try:
        write()
    except OutputError as error:
        print(error)
"""


@pytest.mark.slow
def test_a_disk_that_is_full_is_one_line(tmp_path):
    pytest.importorskip("resource")
    done = subprocess.run(
        [sys.executable, "-c", FULL, tmp_path], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first.startswith(f"cannot write {tmp_path / 'checkpoint.pt'}: File too large")
    assert second == f"cannot write {tmp_path / 'metrics.jsonl'}: File too large"


def test_stage_needs_the_one_before(tmp_path):
    with pytest.raises(OptionError, match="train encoder first"):
        start_file("pretrain", RECIPE, tmp_path)
    skipping = replace(RECIPE, pretrain=replace(RECIPE.pretrain, iterations=0))
    with pytest.raises(OptionError, match=r"encoder/last\.safetensors"):
        start_file("finetune", skipping, tmp_path)


@pytest.mark.medium
def test_batch_must_divide(photos, tmp_path):
    recipe = replace(RECIPE, klvae=replace(RECIPE.klvae, accumulate=3))
    with pytest.raises(OptionError, match="batch_size is 2, which 3 shards"):
        trainer("klvae", photos, tmp_path, recipe=recipe)


@pytest.mark.slow
def test_two_processes_train_together(make_photos, tmp_path):
    (tmp_path / "mini-f8c4.toml").write_text((RECIPES / "mini-f8c4.toml").read_text())
    recipe = tmp_path / "two.toml"
    recipe.write_text(
        'base = "mini-f8c4"\n'
        "[model.klvae]\nblock_out_channels = [16, 16, 16, 16]\n"
        "[klvae]\nbatch_size = 4\naccumulate = 2\ngan_start = 1\ndiscriminator_width = 8\n"
        "resolution = 32\nmin_side = 32\nmax_side = 48\n"
        "[evaluation]\nholdout = 0.2\nimages = 2\nresolution = 64\n"
    )
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"),
        *("-m", "ssdd_bench", "train", "klvae", "--recipe", recipe, "--quiet"),
        *("--data", make_photos(10, (64, 48)), "--out", tmp_path / "out", "--iterations", "3"),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    card = read_card(tmp_path / "out" / "klvae" / "best.safetensors")
    assert (card.processes, card.images_seen) == (2, 12)
