"""PSNR, errors and SSIM against closed forms and scikit-image; known mistakes are caught."""

import math

import numpy as np
import pytest
import torch
from torchmetrics.functional.image import structural_similarity_index_measure

from ssdd_bench.metrics.catalog import find_metrics
from ssdd_bench.metrics.intervals import BOOTSTRAP, bootstrap


def make(key):
    return find_metrics()[key].make()


def value(metric, reference, reconstruction):
    metric.update([f"{n:03}" for n in range(len(reference))], reference, reconstruction)
    return metric.compute()


def fixture_pair():
    y, x = np.mgrid[:64, :64].astype(float)
    base = np.stack([4 * x, 4 * y, 2 * (x + y)], axis=-1).clip(0, 255)
    noise = np.random.RandomState(4).normal(0, 8, base.shape)
    other = (base + noise).round().clip(0, 255)
    return base.astype(np.uint8), other.astype(np.uint8)


def test_named_values():
    pair = [torch.from_numpy(image).permute(2, 0, 1)[None] for image in fixture_pair()]
    assert value(make("psnr"), *pair).value == pytest.approx(30.174362158972663, rel=1e-12)
    assert value(make("ssim"), *pair).value == pytest.approx(0.6547028516042274, abs=1e-12)
    uniform = value(make("ssim_skimage7"), *pair).value
    assert uniform == pytest.approx(0.7176716109637903, abs=1e-12)
    with_borders = structural_similarity_index_measure(
        pair[1].double() / 255, pair[0].double() / 255, data_range=1.0
    )
    assert abs(with_borders - 0.6547028516042274) > 1e-3  # torchmetrics' own mean


def test_ssim_with_twice_the_range_is_another_score(photo_like, noisy):
    a = photo_like(1)
    b = noisy(a, 20)
    wrong = structural_similarity_index_measure(a.double() / 255, b.double() / 255, data_range=2.0)
    assert abs(wrong - value(make("ssim"), a, b).value) > 0.01


def test_one_level_off(photo_like):
    a = photo_like().clamp(0, 254)
    assert value(make("psnr"), a, a + 1).value == pytest.approx(48.1308036086791, rel=1e-12)
    assert value(make("mae"), a, a + 1).value == pytest.approx(1 / 255, rel=1e-12)
    assert value(make("mse"), a, a + 1).value == pytest.approx(1 / 255**2, rel=1e-12)


def test_differences_do_not_wrap_around():
    black, white = torch.zeros(1, 3, 4, 4, dtype=torch.uint8), torch.full((1, 3, 4, 4), 255).byte()
    assert value(make("psnr"), black, white).value == 0
    assert value(make("mae"), black, white).value == 1
    wrapped = (black - white).double().square().mean()  # uint8 arithmetic: 0 - 255 is 1
    assert wrapped == 1


def test_identical_images_are_counted_apart(photo_like, noisy):
    a = photo_like()
    b = a.clone()
    b[0] = noisy(a[:1], 10)[0]
    mixed = value(make("psnr"), a, b)
    assert (mixed.n, mixed.infinite) == (4, 3)
    assert mixed.value == value(make("psnr"), a[:1], b[:1]).value
    for metric in (make("psnr"), make("psnr_pooled")):
        same = value(metric, a, a)
        assert (same.value, same.infinite) == (None, 4)
    assert value(make("ssim"), a, a).value == pytest.approx(1, abs=1e-12)
    assert value(make("mse"), a, a).value == 0


def test_pooled_counts_images_without_an_error(photo_like, noisy):
    a = photo_like()
    b = torch.cat([a[:2], noisy(a[2:], 10)])
    mean, pooled = value(make("psnr"), a, b), value(make("psnr_pooled"), a, b)
    assert mean.infinite == 2
    assert pooled.value > mean.value + 2  # half the error, 3 dB


def test_pooled_is_not_above_the_mean_of_the_same_images(photo_like, noisy):
    a = photo_like()
    b = torch.cat([noisy(a[:2], 3), noisy(a[2:], 30)])
    mean, pooled = value(make("psnr"), a, b).value, value(make("psnr_pooled"), a, b).value
    assert pooled < mean - 1
    expected = 10 * math.log10(255**2 / (a.double() - b.double()).square().mean().item())
    assert pooled == pytest.approx(expected, rel=1e-12)


def tiny(*images):
    """Images of 1 x 2 pixels of one value in every channel: ((left, right), ...)."""
    return torch.tensor(images, dtype=torch.uint8)[:, None, None].expand(-1, 3, 1, 2)


@pytest.mark.parametrize(
    ("key", "scores", "value"),
    [
        ("psnr", [10 * math.log10(255**2 / 12.5), math.inf, 0.0], None),
        ("psnr_pooled", [12.5, 0.0, 65025.0], 10 * math.log10(255**2 * 3 / (12.5 + 65025))),
        ("mse", [12.5 / 65025, 0, 1], (12.5 / 65025 + 1) / 3),
        ("mae", [3.5 / 255, 0, 1], (3.5 / 255 + 1) / 3),
    ],
)
def test_three_images_of_two_pixels(key, scores, value):
    """Differences of 3 and 4, none, and 255 twice."""
    a, b = tiny((10, 20), (7, 7), (0, 255)), tiny((13, 16), (7, 7), (255, 0))
    metric = make(key)
    assert metric.score(a, b) == pytest.approx(scores, rel=1e-12)
    metric.update(["x", "y", "z"], a, b)
    found = metric.compute()
    assert found.value == pytest.approx(scores[0] / 2 if value is None else value, rel=1e-12)
    assert (found.n, found.infinite) == (3, 1 if key == "psnr" else 0)
    expected = {} if key == "psnr_pooled" else dict(zip("xyz", scores, strict=True))
    assert metric.per_image() == pytest.approx(expected)


def test_interval_of_the_pooled_error():
    metric = make("psnr_pooled")
    a = torch.zeros(4, 3, 1, 2, dtype=torch.uint8)
    metric.update("abcd", a, a + torch.tensor([1, 2, 3, 4], dtype=torch.uint8)[:, None, None, None])
    found = metric.compute()
    low, high = bootstrap(np.array([1.0, 4, 9, 16]), resamplings=1000)
    decibels = [10 * math.log10(255**2 / mse) for mse in (high, low)]
    assert found.interval == pytest.approx(decibels, rel=1e-12)
    assert found.interval_method == BOOTSTRAP
    metric.reset()
    b = a.clone()
    b[:, 0, 0, 0] = 1  # of six values, so errors are below one
    metric.update("abcd", a, b)
    assert metric.compute().interval == pytest.approx([10 * math.log10(255**2 * 6)] * 2, rel=1e-12)
    metric.reset()
    metric.update("abcd", a, torch.cat([a[:3], a[3:] + 4]))
    mostly_equal = metric.compute()
    assert (mostly_equal.interval, mostly_equal.interval_method) == (None, "")
    assert mostly_equal.value == pytest.approx(10 * math.log10(255**2 / 4), rel=1e-12)
    metric.reset()
    metric.update("ab", a[:2], a[:2])
    equal = metric.compute()
    assert (equal.value, equal.infinite, equal.interval, equal.interval_method) == (
        None,
        2,
        None,
        "",
    )
