"""Round trips of all images of a loader."""

import torch

from ssdd_bench.evaluation.execution import DEFAULT_EXECUTION, PreparedTokenizer
from ssdd_bench.evaluation.reconstruct import reconstruct
from ssdd_bench.launch.tasks import Progress
from ssdd_bench.plugins.guard import Guard

CPU = torch.device("cpu")


class Done(Progress):
    """Keeps what it is told."""

    def __init__(self):
        self.images, self.chunks = [], []

    def images_done(self, count):
        self.images.append(count)

    def chunk_done(self, chunk):
        self.chunks.append(chunk)


def pass_over(
    tokenizer,
    loader,
    suite,
    protocol,
    seed=0,
    device=CPU,
    chunks=range(9),
    done=None,
    repeat=True,
):
    """Reconstruct and score all images; return the states of all chunks."""
    found, done = {}, done or Done()
    guard, batch = Guard(type(tokenizer).__name__), loader._batch_size
    prepared = PreparedTokenizer(tokenizer, protocol, device, DEFAULT_EXECUTION, batch)
    try:
        save = found.__setitem__
        reconstruct(prepared, loader, suite, seed, guard, chunks, save, done, repeat)
    finally:
        prepared.close()
    assert done.chunks == [*found]
    return [*found.values()]
