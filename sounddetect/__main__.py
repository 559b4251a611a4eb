"""`python -m sounddetect` is the command `sounddetect`, also below `torchrun -m`."""

from sounddetect.cli.cli import main

if __name__ == "__main__":
    main()
