"""python -m recsys VERB: the same as the command recsys."""

from recsys.runs.cli import main

if __name__ == "__main__":
    main()
