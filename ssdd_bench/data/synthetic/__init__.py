"""Pages of text and line drawings, which photographs lack; ``make.py`` draws them."""
