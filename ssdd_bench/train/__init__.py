"""Training: one loop, one file per stage with its networks and loss, recipes and model cards."""
