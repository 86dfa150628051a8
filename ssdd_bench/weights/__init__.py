"""Weight files: read safely, verified by checksum, fetched on request."""

from ssdd_bench.weights.files import (
    choose_weights,
    load_safetensors,
    load_strict,
    load_tensors,
    sha256_file,
)

__all__ = ["choose_weights", "load_safetensors", "load_strict", "load_tensors", "sha256_file"]
