"""Flow matching in three small parts: the path, the time schedules and the solver."""
