"""Metrics of generated images against a reference set."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ssdd_bench.data.loader import iterate_batches
from ssdd_bench.data.source import ImageSource
from ssdd_bench.errors import DataError
from ssdd_bench.evaluation.reference import Reference
from ssdd_bench.metrics.suite import MetricSuite
from ssdd_bench.weights.files import sha256_file

GROUP = 64  # images in memory at a time


def add_samples(
    suite: MetricSuite,
    samples: ImageSource,
    labels: NDArray[np.int64] | None,
    resolution: int,
    on_images: Callable[[int], None],
) -> None:
    """Add samples to a suite as they are, without a crop.

    Args:
        suite: of the kind ``samples``.
        samples: square images.
        labels: class (N,) of each, counted from 0, if known.
        resolution: their side in pixels.
        on_images: told how many more images are done.

    Raises:
        DataError: an image has another size.
    """
    for start in range(0, len(samples), GROUP):
        part = slice(start, start + GROUP)
        images = []
        for image_id in samples.ids[part]:
            image = samples.read_named(image_id)
            if image.size != (resolution, resolution):
                raise DataError(
                    f"{samples.name}: {image_id} has {image.width} x {image.height} px, not "
                    f"{resolution} x {resolution}: samples are scored at one size, without a crop"
                )
            images.append(torch.from_numpy(np.array(image)).permute(2, 0, 1))
        classes = None if labels is None else labels[part].tolist()
        suite.add_samples(samples.ids[part], torch.stack(images), classes)
        on_images(len(images))


def add_reference(
    suite: MetricSuite, reference: Reference, resolution: int, on_images: Callable[[int], None]
) -> str:
    """Add the reference's images to a suite, as ADM crops them.

    Args:
        suite: of the kind ``samples``.
        reference: images, or moments that the suite was made with.
        resolution: side of the crops in pixels.
        on_images: told how many more images are done.

    Returns:
        Hash of the pixels, or of the file of moments.
    """
    digest = hashlib.sha256()
    if reference.images is not None:
        names = sorted(set(reference.classes))
        labels = [names.index(name) for name in reference.classes]
        start = 0
        for batch in iterate_batches(reference.images, resolution, "adm", GROUP, strict=True):
            digest.update(batch.images.numpy().tobytes())
            part = labels[start : start + len(batch)]
            suite.add_references(batch.ids, batch.images, part or None)
            start += len(batch)
            on_images(len(batch))
    return sha256_file(reference.path) if reference.moments else digest.hexdigest()


def labels_match(classes: Sequence[str], reference: Reference) -> bool:
    """Return False if samples were made of other classes than those of the reference."""
    names = sorted(set(reference.classes))
    return not (classes and names and names != list(classes))
