"""`python -m cohortseg` is the command line."""

from cohortseg.cli import main

main()
