"""What a pass over 64 partitions costs on a dask cluster of two processes: milliseconds, and bytes on the loopback.

Run ``python benchmarks/dask_passes.py``. The pass does nothing, so that what is measured is asking for it.
"""

import time
from pathlib import Path

import dask.array as da
import numpy as np
from distributed import Client, LocalCluster

from smoe.rows import DaskRows


def nothing(slices):
    """Return a number of statistics, as many as three experts with four features have."""
    return np.full(400, float(len(slices)))


def loopback():
    """Return the bytes that the loopback device has sent."""
    lines = Path("/proc/net/dev").read_text().splitlines()
    return int(next(line for line in lines if line.strip().startswith("lo:")).split(":")[1].split()[8])


def main(n_partitions=64, n_passes=40):
    """Print the fastest and the median pass, and the mean traffic."""
    settings = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with LocalCluster(**settings) as cluster, Client(cluster):
        X = da.random.default_rng(0).normal(size=(1_000 * n_partitions, 4), chunks=(1_000, 4))
        source = DaskRows(X)
        parts = [[rows] for rows in source.cuts(0)]
        source.reduce(nothing, parts)
        seconds, before = [], loopback()
        for _ in range(n_passes):
            begin = time.perf_counter()
            source.reduce(nothing, parts)
            seconds.append(time.perf_counter() - begin)
        traffic = (loopback() - before) / n_passes
    least, median = 1e3 * min(seconds), 1e3 * np.median(seconds)
    print(f"{n_partitions} partitions: {least:.1f} ms at best, {median:.1f} ms median, {traffic / 1e3:.0f} kB a pass")


if __name__ == "__main__":
    main()
