"""Hostile input: every file and option ends in a result or in one line, never in a traceback.

``SSDD_BENCH_HOSTILE=20`` tries twenty times as many, at random instead of the same ones.
"""

import os

from hypothesis import HealthCheck, settings

FACTOR = int(os.environ.get("SSDD_BENCH_HOSTILE", "1"))
settings.register_profile(
    "hostile",
    deadline=None,
    database=None,
    derandomize=FACTOR == 1,
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("hostile")
