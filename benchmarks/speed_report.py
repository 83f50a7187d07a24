"""The table and the file of results."""

import json
import os
import platform
import shutil
from pathlib import Path

from speed_common import package_version, r_version

_PACKAGES = ("smoe", "numpy", "scipy", "numba", "scikit-learn", "cgmm", "stepmix", "threadpoolctl")
_WORDS = {True: "yes", False: "NO", None: ""}


def environment():
    """Return the machine and the versions; nothing that identifies either."""
    versions = {"python": platform.python_version(), **{name: package_version(name) for name in _PACKAGES}}
    if shutil.which("Rscript"):
        versions |= {"R": r_version("base"), "flexmix": r_version("flexmix")}
    machine = {"cpu": _cpu(), "cores": os.cpu_count(), "system": platform.system(), "machine": platform.machine()}
    machine["load"] = os.getloadavg()[0]  # of others: nothing has run yet
    threads = {name: value for name, value in os.environ.items() if name.endswith("_NUM_THREADS")}
    return {"machine": machine, "versions": versions, "threads": threads}


def _cpu():
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    models = [text.partition(":")[2].strip() for text in lines if text.startswith("model name")]
    return models[0] if models else platform.processor()


def header(about):
    """Print the machine, the versions and the threads, and the heads of the columns."""
    machine, versions = about["machine"], about["versions"]
    print(f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}, load {machine['load']:.1f} before the run")
    print(", ".join(f"{name} {number or 'missing'}" for name, number in versions.items()))
    print("one thread: " + ", ".join(f"{name}={value}" for name, value in about["threads"].items()))
    print(f"\n{'':55s} {'value':>10s} {'':4s} {'bar':>10s}  {'met':3s}  note")


def line(result):
    """Return one line of the table."""
    value = "-" if result.value is None else f"{'> ' if result.at_least else ''}{_number(result.value)}"
    text = f"{result.name:55s} {value:>10s} {result.unit:4s} {result.bar:>10s}  {_WORDS[result.met]:3s}  {result.note}"
    return text.rstrip()


def _number(value):
    """Three digits that count; all of them where there are more."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def save(path, about, quick, results):
    """Write what is known so far."""
    table = {name: [{**row._asdict(), "met": row.met} for row in rows] for name, rows in results.items()}
    path.write_text(json.dumps({**about, "quick": quick, "results": table}, indent=2, default=float) + "\n")
