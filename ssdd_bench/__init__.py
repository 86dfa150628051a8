"""A benchmark of image tokenizers, with an independent implementation of SSDD."""

__version__ = "0.1.0"
