"""Reader of the raw profiles of benchmarks.train_step: the kernels of each case that take longest.

    python -m benchmarks.read_profile FOLDER --top=25

For each case: the milliseconds of all kernels together, and a line for each of the longest: milliseconds, share, number
of calls, name. On a GPU or TPU these are the kernels of the device; on a CPU, the operations of XLA's threads, of which
those that contain others (loops and calls) are left out. A profile of the benchmark has two steps.
"""

from __future__ import annotations

import argparse
import collections
import pathlib

from jax.profiler import ProfileData

_CONTAINERS = ("ThunkExecutor", "while", "call", "Pjit", "np.asarray", "CommonPjRt", "end:")


def main():
    """Print the longest kernels of each profile in a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, help="Folder that was given as --profile.")
    parser.add_argument("--top", type=int, default=25, help="Number of kernels to print of each case.")
    given = parser.parse_args()
    files = sorted(given.folder.rglob("*.xplane.pb"))
    if not files:
        parser.error(f"{given.folder} has no file *.xplane.pb, expected the folder of a profile")
    for file in files:
        kernels = read(file)
        total = sum(milliseconds for milliseconds, _ in kernels.values())
        print(f"{file.relative_to(given.folder).parts[0]}: {total:.1f} ms in all")
        longest = sorted(kernels.items(), key=lambda item: -item[1][0])[: given.top]
        for name, (milliseconds, calls) in longest:
            print(f"{milliseconds:10.2f} ms {milliseconds / max(total, 1e-9):6.1%} {calls:6} x  {name[:120]}")


def read(file: pathlib.Path) -> dict[str, tuple[float, int]]:
    """Return {name of a kernel: (milliseconds, calls)} of one raw profile."""
    planes = list(ProfileData.from_file(str(file)).planes)
    devices = [plane for plane in planes if plane.name.startswith("/device:")]
    milliseconds, calls = collections.Counter(), collections.Counter()
    for plane in devices or planes:
        for line in plane.lines:
            if devices and not line.name.startswith(("Stream", "XLA Ops")):
                continue  # lines of whole modules and steps repeat the time of their kernels
            for event in line.events:
                if not event.name.startswith((*_CONTAINERS, "$")):
                    milliseconds[event.name] += event.duration_ns / 1e6
                    calls[event.name] += 1
    return {name: (milliseconds[name], calls[name]) for name in milliseconds}


if __name__ == "__main__":
    main()
