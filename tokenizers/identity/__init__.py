"""The perfect copy, a control for the metrics."""
