"""Write config.yaml and config_colab.yaml from the defaults in nbs/00_foundation/02_config.ipynb."""
from pathlib import Path

from sounddetect.config import Config

ROOT = Path(__file__).resolve().parents[1]
COLAB = {"data.max_memory_usage": "10GB"}     # of the 12 to 13 GB that a free session has

if __name__ == "__main__":
    Config.load().save(ROOT / "config.yaml")
    Config.load(None, COLAB).save(ROOT / "config_colab.yaml")
