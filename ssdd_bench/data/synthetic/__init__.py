"""Pages of text and line art, which photos lack; tests/data/make_synthetic.py makes them."""
