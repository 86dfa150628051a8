"""Networks without training or file access: SSDD's decoder and encoder, and the DiT.

from ssdd_bench.nn import SSDDDecoder, SSDDEncoder
"""

from ssdd_bench.nn.decoder import SSDDDecoder
from ssdd_bench.nn.encoder import SSDDEncoder

__all__ = ["SSDDDecoder", "SSDDEncoder"]
