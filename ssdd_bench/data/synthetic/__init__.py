"""Pages of text and line drawings, which photographs lack; ``draw.py`` made them."""
