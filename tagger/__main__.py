"""``python -m tagger``: the command line where the console script is not on the path."""

from tagger.cli import main

main()
