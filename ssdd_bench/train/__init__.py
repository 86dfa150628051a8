"""Training: one loop, stages with their networks and loss, recipes and model cards."""
