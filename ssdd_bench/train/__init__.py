"""Training: one loop, and one file for each stage that says what its loss is."""
