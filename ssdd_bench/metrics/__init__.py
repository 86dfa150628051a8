"""Metrics: a pure function each, and an accumulator that sums in float64."""
