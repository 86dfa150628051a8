"""Figures, each drawn once by matplotlib: files and the page show the same SVG."""
