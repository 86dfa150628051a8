"""Import home of the plugin folders, wherever they lie.

A plugin is ``ssdd_bench.tokenizers.<folder>``. In a wheel its folder lies beside this file; in a
checkout it lies in the folder ``tokenizers`` at the root, which must not be importable itself:
it would shadow the package ``tokenizers`` of Hugging Face.
"""

import os
from pathlib import Path

_checkout = Path(__file__).parents[2] / "tokenizers"
# Beside an installed wheel this path is that other package, which holds no manifests.
if any(_checkout.glob("*/tokenizer.toml")):
    __path__.append(str(_checkout))
__path__ += [path for path in os.environ.get("SSDD_BENCH_TOKENIZERS", "").split(os.pathsep) if path]
