"""What fits to many rows cost: time, passes, memory beyond the rows; arrays, memory maps, Parquet and dask.

Run ``python benchmarks/large.py [--rows 1e5,1e6] [--kinds array,mapped,parquet,dask] [--threads 1] [--folder DIR]``.
Rows have four features of float32, three experts made them. Files are written once into the folder, 20 bytes a row,
and stay there. Each fit has a process of its own, in which a small fit comes before it.
"""

import argparse
import contextlib
import io
import multiprocessing
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

BLOCK, FEATURES = 2**16, list("abcd")
SLOPES = np.array([[1.0, 2.0, 0.0, 1.0], [-1.0, 0.0, 1.0, 0.5], [0.0, -1.0, -2.0, 0.0]])
GATE = np.array([[2.0, 0.0, 0.0, 0.0], [0.0, 1.5, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])


def block(i, m):
    """Return the rows of block i of the truth."""
    rng = np.random.default_rng((1, i))
    X = rng.normal(size=(m, 4)).astype(np.float32)
    label = np.argmax(X @ GATE.T + rng.gumbel(size=(m, 3)), axis=1)
    y = np.array([1.0, -1.0, 3.0])[label] + np.sum(X * SLOPES[label], axis=1) + 0.7 * rng.normal(size=m)
    return X, y.astype(np.float32)


def sizes(n):
    """Return how many rows each block has."""
    return [min(BLOCK, n - low) for low in range(0, n, BLOCK)]


def several(numbers):
    """Return the rows of blocks, by their numbers and sizes, as float64."""
    return tuple(np.concatenate(side).astype(float) for side in zip(*(block(i, m) for i, m in numbers), strict=True))


def written(kind, n, folder):
    """Write the rows, unless that has been done, and return what to fit."""
    path = folder / f"{n}"
    if kind == "mapped":
        files = [path.with_suffix(suffix) for suffix in (".X", ".y")]
        if not files[0].exists():
            with files[0].open("wb") as of_X, files[1].open("wb") as of_y:
                for i, m in enumerate(sizes(n)):
                    for file, values in zip((of_X, of_y), block(i, m), strict=True):
                        values.tofile(file)
        return tuple(
            np.memmap(file, dtype=np.float32, mode="r", shape=shape)
            for file, shape in zip(files, ((n, 4), (n,)), strict=True)
        )
    if kind == "parquet":
        import pyarrow as pa
        from pyarrow import parquet

        from smoe.rows import ParquetRows

        path = path.with_suffix(".parquet")
        schema = pa.schema([(name, pa.float32()) for name in [*FEATURES, "y"]])
        if not path.exists():
            with parquet.ParquetWriter(path, schema) as writer:
                for i, m in enumerate(sizes(n)):
                    X, y = block(i, m)
                    writer.write_table(pa.table([*X.T, y], schema=schema), row_group_size=BLOCK)
        return (ParquetRows(path, y="y", features=FEATURES),)
    if kind == "array":
        return several(enumerate(sizes(n)))
    import dask
    import dask.array as da

    cuts = np.array_split(list(enumerate(sizes(n))), 16)
    parts = [(dask.delayed(several, nout=2)(cut), int(cut[:, 1].sum())) for cut in cuts]
    X = da.concatenate([da.from_delayed(X, (m, 4), float) for (X, _), m in parts])
    y = da.concatenate([da.from_delayed(y, (m,), float) for (_, y), m in parts])
    return dask.persist(X, y)


def anonymous():
    """Return the resident memory of this process without files, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) / 1e3


class Highest(threading.Thread):
    """Looks at the memory of this process until it is told to stop."""

    def __init__(self):
        super().__init__(daemon=True)
        self.begin = self.most = anonymous()
        self.done = threading.Event()

    def run(self):
        while not self.done.wait(0.02):
            self.most = max(self.most, anonymous())


def quiet(function, *args):
    """Call it, without what it prints."""
    with contextlib.redirect_stdout(io.StringIO()):
        return function(*args)


def measured(kind, n, threads, folder):
    """Fit, and put down wall and processor seconds, memory, passes over the rows and what was found."""
    from smoe import MoERegressor
    from smoe.rows import Counted

    passes, begun = [0], Counted.__init__

    def remembered(self, source):
        begun(self, source)
        passes[0] = self

    Counted.__init__ = remembered
    if kind == "dask":
        from distributed import Client, LocalCluster

        cluster = LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None)
        client = Client(cluster)
    MoERegressor(3, random_state=0).fit(*block(0, 5_000))
    data = written(kind, n, folder)
    model = MoERegressor(3, random_state=0, n_jobs=threads, verbose=1)
    if kind == "dask":
        quiet(model.fit, *data)  # workers compile
    memory = Highest()
    memory.start()
    wall, own = time.perf_counter(), time.process_time()
    quiet(model.fit, *data)
    wall, own = time.perf_counter() - wall, time.process_time() - own
    memory.done.set()
    if kind == "dask":
        client.close()
        cluster.close()
    sure = "" if model.converged_ else f" not certified: {model.status_}"
    print(
        f"{kind:8s} {n:>11,d} rows: {wall:7.1f} s, {own:7.1f} s of processors, {memory.most - memory.begin:5.0f} MB, "
        f"{passes[0].n_passes} passes, log-likelihood {model.loglik_:.4f}{sure}",
        flush=True,
    )


def main():
    """Measure each kind at each size in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", default="1e5,1e6")
    parser.add_argument("--kinds", default="array,mapped,parquet")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "smoe-large")
    args = parser.parse_args()
    args.folder.mkdir(exist_ok=True)
    context = multiprocessing.get_context("spawn")
    for n in args.rows.split(","):
        for kind in args.kinds.split(","):
            rows = int(float(n))
            if kind in ("mapped", "parquet"):
                written(kind, rows, args.folder)
            process = context.Process(target=measured, args=(kind, rows, args.threads, args.folder))
            process.start()
            process.join()


if __name__ == "__main__":
    main()
