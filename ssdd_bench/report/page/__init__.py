"""The page: tables, figures and images in one HTML file."""
