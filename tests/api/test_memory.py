"""Failed allocations are told from other errors, whichever library reports them."""

import pytest
import torch

from ssdd_bench.api.memory import OOMSplitter, is_out_of_memory
from ssdd_bench.errors import UserError

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("GET was unable to find an engine to execute this computation"),
    ],
)
def test_memory_is_full(error):
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("cuDNN error: CUDNN_STATUS_BAD_PARAM"),
        RuntimeError("CUDA error: device-side assert triggered"),
        ValueError("CUDA out of memory"),
    ],
)
def test_other_errors(error):
    def call():
        raise error

    assert not is_out_of_memory(error)
    with pytest.raises(type(error)):
        OOMSplitter(4, CPU).attempt(call, 4)


def test_a_call_is_made_smaller_until_it_fits(monkeypatch):
    released, tried = [], []
    monkeypatch.setattr("ssdd_bench.api.memory.release_memory", released.append)
    splitter = OOMSplitter(9, CPU)

    def call(size):
        tried.append(size)
        if size > limit:
            raise torch.OutOfMemoryError
        return f"{size} fit"

    limit = 2
    assert splitter.fit(call) == "2 fit"
    assert (tried, splitter.size) == ([9, 4, 2], 2)
    assert [text.split(" with ")[1].split()[0] for text in splitter.warnings] == ["9", "4"]
    assert released == [CPU] * 2
    assert splitter.fit(call) == "2 fit"  # the larger ones are not tried again
    assert tried == [9, 4, 2, 2]
    limit = 0
    with pytest.raises(UserError, match="one image"):
        splitter.fit(call)
