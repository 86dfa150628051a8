"""The photographs that come with the package, so that a first run needs no download."""

from pathlib import Path

SAMPLE_DIR = Path(__file__).parent
