"""The command line: one verb per file, and files with an underscore for what verbs share."""
