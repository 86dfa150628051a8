"""The gate: whether one set of results is worse than another, beyond doubt."""
