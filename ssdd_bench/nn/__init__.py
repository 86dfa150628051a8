"""SSDD's decoder and encoder, and the DiT."""

from ssdd_bench.nn.decoder import SSDDDecoder
from ssdd_bench.nn.encoder import SSDDEncoder

__all__ = ["SSDDDecoder", "SSDDEncoder"]
