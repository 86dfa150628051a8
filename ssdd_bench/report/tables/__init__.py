"""Tables: one model, built from the frame, and a renderer per format."""
