"""Images in: where they lie, how they are cropped, and how they arrive in batches."""
