"""Runs groups of jobs on one process, on every GPU of a machine, or on a cluster."""
