"""What a user waits for in a new process, and the memory that a fit takes. Run as a script, it is that process."""

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from speed_common import Result, paired

_STATUS = Path("/proc/self/status")
_FIRST_FIT = """
import time
import numpy as np
from smoe import SoftmaxMoERegressor
x = np.linspace(-1, 1, 1000)
y = np.where(x > 0, 2 * x, -3 * x) + 0.3 * np.sin(1000 * x)
for _ in range(2):
    begin = time.perf_counter()
    SoftmaxMoERegressor(2, random_state=0).fit(x[:, None], y)
    print(time.perf_counter() - begin)
"""


def _python(*arguments, **environment):
    """Run a new Python; return the numbers that it prints."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    return [float(word) for word in done.stdout.split()]


def start(options):
    """Import and first fit."""
    repeats = options.pick(7, 2)
    times = paired(repeats, lambda: _python("-c", "import smoe"), lambda: _python("-c", "import sklearn"))
    ours, theirs = np.median(times, axis=0)
    gap, note = np.median(times[:, 0] - times[:, 1]), f"processes of {ours:.2f} and {theirs:.2f} s"
    yield Result("import smoe - import sklearn", gap, "s", "<= 0.3", note)
    _python("-c", _FIRST_FIT)  # so that the kernels are cached
    first, second = np.median([_python("-c", _FIRST_FIT) for _ in range(options.pick(3, 1))], axis=0)
    yield Result("first fit, kernels cached, n=1,000", first, "s", "<= 1", f"the second fit takes {second:.2f} s")
    with tempfile.TemporaryDirectory() as folder:
        cold = _python("-c", _FIRST_FIT, NUMBA_CACHE_DIR=folder)[0]
    yield Result("first fit, nothing cached, n=1,000", cold, "s", "<= 30", "compiles every kernel that it needs")


def memory(options):
    """Peak memory of a fit above X and y."""
    n = options.pick(5_000_000, 500_000)
    before, peak = _python(__file__, n)
    note = f"X and y take {n * 5 * 8 / 1e6:.0f} MB, the process {before:.0f} MB before"
    yield Result(f"memory of a fit above X and y, n={n:,} d=4 k=4", peak - before, "MB", "<= 100", note)


def _megabytes(field):
    """Return VmRSS or VmHWM (now, peak).

    The peak that getrusage knows begins with that of the parent, which is larger than what is measured here; it serves
    where there is no /proc.
    """
    if not _STATUS.exists():
        unit = 1e6 if sys.platform == "darwin" else 1e3
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024 / 1e6


def _four_experts(n):
    """Draw rows in place, in chunks: nothing but X and y may take memory before the fit."""
    rng = np.random.default_rng(0)
    slopes = np.array([[2.0, -1, 0, 1], [-2, 1, 1, 0], [0, 2, -1, -1], [1, 0, 2, -2]])
    X, y = np.empty((n, 4)), np.empty(n)
    for low in range(0, n, 10_000):
        rows = X[low : low + 10_000]
        rng.random(out=rows)
        rows -= 0.5
        label = (rows[:, 0] > 0) + 2 * (rows[:, 1] > 0)
        y[low : low + 10_000] = (rows * slopes[label]).sum(axis=1) + label + 0.3 * rng.normal(size=len(rows))
    return X, y


def _memory_of_a_fit(n):
    """Print the memory in use before a fit, and its peak, in megabytes."""
    from smoe import MoERegressor
    from smoe.experts import GaussianExpertParams
    from smoe.gates import LinearGateParams
    from smoe.params import MoEParams
    from smoe.solvers import EM
    from smoe.starts import FromParams

    gate = LinearGateParams(np.array([[-3.0, -3, 0, 0], [3, -3, 0, 0], [-3, 3, 0, 0], [0, 0, 0, 0]]), np.zeros(4))
    expert = GaussianExpertParams(np.zeros((4, 4)), np.arange(4.0), np.full(4, 0.5))
    model = MoERegressor(4, start=FromParams(MoEParams(gate, expert)), solver=EM(3), random_state=0)
    small = _four_experts(1000)
    model.fit(*small)  # kernels are loaded or compiled
    X, y = _four_experts(n)
    before = _megabytes("VmRSS")
    model.fit(X, y)
    print(before, _megabytes("VmHWM"))


if __name__ == "__main__":
    import warnings

    warnings.simplefilter("ignore")
    _memory_of_a_fit(int(sys.argv[1]))
