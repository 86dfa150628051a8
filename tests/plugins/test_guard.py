"""The border of a plugin: it cannot end the program, nor change it for others unnoticed."""

import inspect
import os
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from ssdd_bench.api import Latent, LatentSpec, Tokenizer
from ssdd_bench.api.formats import PRECISIONS, tf32
from ssdd_bench.errors import DataError, OutputError, PluginError, WeightsError
from ssdd_bench.evaluation.conformance import check_tokenizer
from ssdd_bench.evaluation.evaluate import evaluate
from ssdd_bench.plugins.guard import Guard

CHANGES = {
    "torch's number of threads": lambda: torch.set_num_threads(torch.get_num_threads() + 1),
    "torch's precision of matrix products": lambda: torch.set_float32_matmul_precision("medium"),
    "torch's default dtype": lambda: torch.set_default_dtype(torch.float64),
    "torch's default device": lambda: torch.set_default_device("meta"),
    "torch.backends.mkldnn.enabled": lambda: torch._C._set_mkldnn_enabled(False),
    "numpy's handling of errors": lambda: np.seterr(divide="raise"),
    "the working directory": lambda: os.chdir("/"),
    "PIL.Image.MAX_IMAGE_PIXELS": lambda: setattr(Image, "MAX_IMAGE_PIXELS", 7),
    "torch.Tensor.clamp": lambda: setattr(torch.Tensor, "clamp", lambda self, *a: self),
    "torch.nn.functional.conv2d": lambda: setattr(nn.functional, "conv2d", None),
}


class Plugin(Tokenizer):
    """A perfect copy that does something else besides."""

    latent = LatentSpec("continuous", 1, 3)

    def __init__(self, act=lambda: None):
        self.act = act

    def encode(self, images, noise=None):
        return Latent(images.clone(), (images.shape[-2], images.shape[-1]))

    def decode(self, latent, noise):
        self.act()
        return latent.data.clone()


def leave(code=0):
    raise SystemExit(code)


def blame_the_images():
    raise DataError("x.jpg is damaged")


def blame_the_disk():
    raise OutputError("no space left")


def run(tokenizer, **options):
    only = {"data": "sample", "limit": 2, "metrics": ["mae"], "device": "cpu"} | options
    return evaluate(tokenizer, resolution=32, progress=False, **only)


@pytest.mark.parametrize("name", CHANGES)
def test_global_settings_are_put_back_and_named(name):
    guard, other = Guard("plugin"), Guard("other")
    before = torch.Tensor.clamp, nn.functional.conv2d, Image.MAX_IMAGE_PIXELS
    folder, errors = Path.cwd(), np.geterr()
    for one in (guard, guard):
        with one.calls():
            CHANGES[name]()
    with other.calls():
        assert torch.zeros(1).dtype == torch.float32
        assert torch.zeros(1).device.type == "cpu"
    assert guard.changed == (name,)
    assert other.changed == ()
    assert (torch.Tensor.clamp, nn.functional.conv2d, Image.MAX_IMAGE_PIXELS) == before
    assert (Path.cwd(), np.geterr()) == (folder, errors)


def test_a_working_directory_that_is_gone_is_no_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # which returns to the present one at the end
    guard = Guard("plugin")
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
    os.chdir(tmp_path / "a")
    with guard.calls():
        os.chdir(tmp_path / "b")
        (tmp_path / "a").rmdir()
    with guard.calls():
        (tmp_path / "b").rmdir()
        os.chdir(tmp_path)
    with guard.calls():
        pass
    assert guard.changed == ("the working directory",)


def test_what_an_import_of_dynamo_wraps_is_no_change(monkeypatch):
    """PyTorch wraps this function when a model of diffusers is built first."""
    plain = inspect.unwrap(torch.manual_seed)
    monkeypatch.setattr(torch, "manual_seed", plain)
    guard = Guard("plugin")
    with guard.calls():
        torch.manual_seed = torch._disable_dynamo(plain)
    assert guard.changed == ()


@pytest.mark.medium  # an import of the compiler
@pytest.mark.parametrize("before", [False, True])
def test_what_the_first_compilation_wraps_is_no_change(monkeypatch, before):
    """PyTorch wraps two methods of nn.Module; a plugin that changes one as well is seen."""
    from torch._dynamo.mutation_guard import install_generation_tagging_init

    plain = nn.Module.__init__
    for name in ("__init__", "__setstate__", "___needs_generation_tag_patch"):
        monkeypatch.setattr(nn.Module, name, getattr(nn.Module, name, True), raising=False)
    nn.Module.___needs_generation_tag_patch = True
    monkeypatch.delattr(nn.Module, "___has_generation_tag_patch", raising=False)  # since 2.15
    guard = Guard("plugin")
    with guard.calls():
        if before:
            nn.Module.__init__ = lambda self: plain(self)
        install_generation_tagging_init()
    assert guard.changed == (("torch.nn.Module.__init__",) if before else ())
    assert (nn.Module.__init__ is plain) == before


PRECISION = "torch's precision of "
PRODUCTS, CONVOLUTIONS = PRECISION + "matrix products", PRECISION + "convolutions and RNNs"
PRECISION_CHANGES = [
    (PRODUCTS, lambda: torch.set_float32_matmul_precision("medium"), False),
    (PRODUCTS, lambda: flip(torch.backends.cuda.matmul), False),
    (CONVOLUTIONS, lambda: flip(torch.backends.cudnn), False),
    (PRODUCTS, lambda: set_part(torch.backends.cuda.matmul), True),
    (PRODUCTS, lambda: set_part(torch.backends.mkldnn.matmul), True),
    (CONVOLUTIONS, lambda: set_part(torch.backends.cudnn.conv), True),
    (CONVOLUTIONS, lambda: set_part(torch.backends.cudnn.rnn), True),
    (CONVOLUTIONS, lambda: set_part(torch.backends.mkldnn.conv), True),
    (PRECISION + "float32", lambda: set_part(torch.backends), True),
    (PRECISION + "float32", lambda: set_part(torch.backends.cudnn), True),
]


def flip(part):
    part.allow_tf32 = not part.allow_tf32


def set_part(part):
    part.fp32_precision = "ieee" if part.fp32_precision == "tf32" else "tf32"


def allows_tf32():
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


def precisions():
    return [one.get() for one in PRECISIONS.values()]


@pytest.mark.parametrize("allowed", [True, False, None])
@pytest.mark.parametrize(("name", "change", "newer"), PRECISION_CHANGES)
def test_precisions_are_put_back_whichever_interface_changed_them(name, change, newer, allowed):
    """Outside of a context too, where PyTorch's defaults hold."""
    if newer and not hasattr(torch.backends.cuda.matmul, "fp32_precision"):
        pytest.skip("PyTorch before 2.9")
    guard = Guard("plugin")
    with nullcontext() if allowed is None else tf32(allowed):
        before, flags = precisions(), allows_tf32()
        assert allowed is None or flags == (allowed, allowed)
        with guard.calls():
            pass
        assert guard.changed == ()
        with guard.calls():
            change()
        assert (precisions(), allows_tf32()) == (before, flags)
    assert guard.changed == (name,)


@pytest.mark.parametrize("allowed", [True, False])
def test_flags_of_cudnn_for_a_while_are_no_change(allowed):
    """Afterwards PyTorch leaves no precision where IEEE's was, which has the same effect."""
    guard = Guard("plugin")
    with tf32(allowed):
        before = precisions()
        with guard.calls(), torch.backends.cudnn.flags(enabled=False):
            assert not torch.backends.cudnn.enabled
        assert precisions() == before
    assert guard.changed == ()


def test_environment_is_put_back(monkeypatch):
    monkeypatch.setenv("A_VARIABLE", "1")
    guard = Guard("plugin")
    with guard.calls():
        os.environ["ANOTHER_ONE"] = "harmless"
        os.environ.pop("A_VARIABLE")
    assert os.environ.pop("ANOTHER_ONE") == "harmless"
    assert os.environ["A_VARIABLE"] == "1"
    assert guard.changed == ("the environment variable A_VARIABLE",)


@pytest.mark.parametrize("act", [leave, blame_the_images, blame_the_disk])
def test_plugin_cannot_end_the_program_nor_blame_images_or_disk(act):
    with pytest.raises(PluginError, match="plugin"), Guard("plugin").calls():
        act()


def test_errors_of_a_plugin_pass():
    with pytest.raises(WeightsError), Guard("plugin").calls():
        raise WeightsError("gone")
    with pytest.raises(ZeroDivisionError), Guard("plugin").calls():
        1 / 0  # noqa: B018


def test_interrupts_pass():
    with pytest.raises(KeyboardInterrupt), Guard("plugin").calls():
        os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("act", [leave, blame_the_images])
def test_evaluation_names_the_plugin(act):
    with pytest.raises(PluginError, match="Plugin"):
        run(Plugin(act))


@pytest.mark.medium
def test_evaluation_warns_of_changes_and_scores_do_not_depend_on_them():
    change = CHANGES["torch's default dtype"]
    plain, changed = run(Plugin()), run(Plugin(change))
    assert changed.metrics["mae"].value == plain.metrics["mae"].value
    assert not [text for text in plain.warnings if "changed" in text]
    (warning,) = (text for text in changed.warnings if "changed" in text)
    assert "Plugin" in warning
    assert "torch's default dtype" in warning


@pytest.mark.medium
@pytest.mark.parametrize("act", [leave, CHANGES["torch's number of threads"]])
def test_check_tokenizer_reports_a_broken_contract(act):
    assert check_tokenizer(Plugin(), 32) == []
    assert len(check_tokenizer(Plugin(act), 32)) == 1


FAULTS = {
    "steps": {"steps": 2.5},
    "steps ": {"steps": True},
    "steps  ": {"steps": 0},
    "latent": {"latent": None},
    "info() does not": {"info": lambda: {"loss": float("nan")}},
    "info() must": {"info": lambda: [1]},
    "networks()": {"networks": lambda: {"vae": nn.Identity()}},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_a_plugin_returns_is_refused_before_a_record_is_written(fault):
    plugin = Plugin()
    vars(plugin).update(FAULTS[fault])
    with pytest.raises(PluginError) as caught:
        run(plugin)
    assert fault.strip() in str(caught.value)
    assert check_tokenizer(plugin, 32)


FORKS = """
import os
from ssdd_bench.plugins.guard import Guard

with Guard("plugin").calls():
    child = os.fork()
if child:
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
print("went on")
"""


@pytest.mark.slow  # a Python with torch
def test_a_fork_does_not_go_on_with_our_work():
    run = [sys.executable, "-W", "ignore", "-c", FORKS]
    found = subprocess.run(run, capture_output=True, text=True, timeout=100, check=False)
    assert (found.returncode, found.stdout) == (0, "went on\n"), found.stderr
