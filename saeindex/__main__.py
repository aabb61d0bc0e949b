"""``python -m saeindex``: the command line, where its command is not on the path."""

from saeindex.cli import main

if __name__ == "__main__":
    main()
