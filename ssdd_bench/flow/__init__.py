"""Flow matching (path, timestep schedules, solvers) and DDPM's ancestral sampling."""
