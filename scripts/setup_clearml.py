"""Set ClearML up, as in the older system: python scripts/setup_clearml.py [options of `sounddetect setup-clearml`]"""
import sys

from sounddetect.cli.cli import main

if __name__ == "__main__":
    main(["setup-clearml", *sys.argv[1:]])
