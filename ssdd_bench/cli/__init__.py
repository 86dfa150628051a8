"""The command line: one file per verb; a file whose name starts with an underscore is none."""
