"""Train with config_colab.yaml: python scripts/train_model_colab.py [--resume] [PATH ...] [options of `sounddetect train`]"""
import sys

from sounddetect.cli.cli import main

if __name__ == "__main__":
    main(["train", "--config", "config_colab.yaml", *sys.argv[1:]])
