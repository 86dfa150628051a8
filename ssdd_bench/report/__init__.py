"""Tables and figures made from result files alone; nothing here imports torch."""
