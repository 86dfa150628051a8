"""``python -m ssdd_bench``: the command line without its installed script."""

from ssdd_bench.cli.main import main

main()
