"""The regression gate: decide if one set of results is significantly worse than another."""
