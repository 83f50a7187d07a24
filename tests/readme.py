"""Run the Python of the README as a user would: one block after the other, wherever smoe is installed."""

import re
import warnings
from pathlib import Path


def blocks():
    """Return what stands between the fences."""
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)


def run():
    """Run all blocks in one namespace and return it."""
    names = {}
    for block in blocks():
        exec(compile(block, "README.md", "exec"), names)
    return names


if __name__ == "__main__":
    warnings.simplefilter("error")
    assert run()["model"].converged_
