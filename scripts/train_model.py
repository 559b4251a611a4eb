"""Train with config.yaml, as in the older system: python scripts/train_model.py [--resume] [PATH ...] [options of `sounddetect train`]"""
import sys

from sounddetect.cli.cli import main

if __name__ == "__main__":
    main(["train", "--config", "config.yaml", *sys.argv[1:]])
