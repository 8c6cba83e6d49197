"""`python -m entrypoints` is `carillon`."""

from entrypoints.cli import main

main()
