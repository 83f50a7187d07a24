"""How fast smoe is, beside other programs and against its own bars; one process, one thread.

    python benchmarks/speed.py [--quick] [--only passes,fit] [--json PATH] [--plot PATH] [--limit SECONDS]

passes     a pass over the rows, in multiples of numpy's exponential
gates      a pass of each gate, in multiples of the softmax gate's
iteration  an EM iteration of smoe, cgmm, GaussianMixture, stepmix, plain numpy and flexmix: same rows, same start
fit        time from call to end with defaults, and the log-likelihood reached
certified  passes and time to a certified maximum of an over-specified model
threads    one fit with one thread and with two
linear     how time grows with rows, features and experts
small      a hundred rows
every      default fits of every family and of every gate
one        one expert beside the regressions of scikit-learn
predict    predictions beside means by plain numpy
studies    the 8,000 fits of the first published experiment, on two cores
start      import and first fit in a new process
memory     peak memory of a fit above X and y
"""

import os

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
for variable in THREADS:
    os.environ[variable] = "1"

import argparse
import time
from pathlib import Path

import speed_default
import speed_fresh
import speed_passes
import speed_peers
from speed_common import Options
from speed_report import environment, header, line, save
from threadpoolctl import threadpool_limits

SECTIONS = {
    "passes": speed_passes.passes,
    "gates": speed_passes.gates,
    "iteration": speed_peers.iteration,
    "fit": speed_peers.fit,
    "certified": speed_passes.certified,
    "threads": speed_passes.threads,
    "linear": speed_passes.linear,
    "small": speed_passes.small,
    "every": speed_default.every,
    "one": speed_default.one,
    "predict": speed_default.predict,
    "studies": speed_default.studies,
    "start": speed_fresh.start,
    "memory": speed_fresh.memory,
}
RESULTS = Path(__file__).with_name("results")


def arguments():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, few repeats: does everything run?")
    parser.add_argument("--only", type=lambda names: names.split(","), default=list(SECTIONS), help="comma-separated")
    parser.add_argument("--json", type=Path, default=RESULTS / "speed.json")
    parser.add_argument("--plot", type=Path, default=RESULTS / "speed.png")
    parser.add_argument("--limit", type=float, default=300.0, help="longest time for a default fit, in seconds")
    args = parser.parse_args()
    unknown = set(args.only) - set(SECTIONS)
    if unknown:
        parser.error(f"--only knows {', '.join(SECTIONS)}, not {', '.join(sorted(unknown))}")
    return args


def main():
    """Run the sections, print each line as it is known, save everything after each section."""
    args, begin = arguments(), time.perf_counter()
    for path in (args.json, args.plot):
        path.parent.mkdir(parents=True, exist_ok=True)
    options, about, results = Options(args.quick, args.limit, args.plot), environment(), {}
    with threadpool_limits(1):
        header(about)
        for name in (name for name in SECTIONS if name in args.only):
            print(f"\n{name}")
            results[name] = []
            for result in SECTIONS[name](options):
                results[name].append(result)
                print(line(result), flush=True)
            save(args.json, about, args.quick, results)
    verdicts = [result.met for found in results.values() for result in found]
    minutes = (time.perf_counter() - begin) / 60
    print(f"\n{verdicts.count(True)} bars met, {verdicts.count(False)} not; {minutes:.1f} minutes")


if __name__ == "__main__":
    main()
