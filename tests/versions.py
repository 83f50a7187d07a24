"""Print what pip is to be held to: for "oldest" the least versions that setup.cfg allows, for "newest" nothing."""

import configparser
import sys
from pathlib import Path

# Of their time: scikit-learn 1.6 makes generators that pytest 9 deprecates, and finds no names in later polars.
BESIDE = ["pytest==8.*", "polars==1.20.*"]


def oldest():
    """Return lines such as numpy==2.0.* of what smoe cannot do without, and what goes with them."""
    setup = configparser.ConfigParser()
    setup.read(Path(__file__).parents[1] / "setup.cfg", encoding="utf-8")
    pairs = [line.split(" >= ") for line in setup["options"]["install_requires"].split("\n") if line]
    return [*(f"{name}=={least if '.' in least else least + '.0'}.*" for name, least in pairs), *BESIDE]


if __name__ == "__main__":
    print("\n".join(oldest() if sys.argv[1:] == ["oldest"] else []))
