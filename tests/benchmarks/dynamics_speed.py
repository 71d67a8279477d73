"""Dynamics models and their filter against OfflineRL-Kit, MOREC's official code and bare matrix products.

    python -m tests.benchmarks.dynamics_speed --offlinerl-kit FOLDER --morec FOLDER
    python -m tests.benchmarks.dynamics_speed --works filter_40                         one line; ours and bare alone
    python -m tests.benchmarks.dynamics_speed --side rewardlab --works training         one side, as JSON

The folders are checkouts of yihaosun1124/OfflineRL-Kit and polixir/morec, run as they are (`dynamics_peers`); the
variables OFFLINERL_KIT and MOREC may name them too. Without one its column stays empty. Sides take turns, each in a
process of its own, on one thread; a time is that of the processor, the best of all calls of all turns. Before timing,
each side computes one thing with the same weights and the same random draws, and the results must agree.

`bare` is the batched matrix products that the work cannot do without, in float32, and nothing else. With `bfloat16`
our dynamics reward is timed at that precision; the largest change of the reward by it is printed. Peak memory is the
growth of the process's largest resident size over what it held before, weights and inputs included in what it held.
"""

import argparse
import contextlib
import ctypes
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.benchmarks.dynamics_peers import Sizes, peer
from tests.benchmarks.dynamics_sides import bare_side, rewardlab_side
from tests.benchmarks.llm_step import forget_peak, peak_bytes

SIDES = ("rewardlab", "bare", "offlinerl_kit", "morec")
PEERS = {"offlinerl_kit": "OFFLINERL_KIT", "morec": "MOREC"}
WORKS = {  # name -> kind of work, sizes that differ from the default, the peer
    "training": ("training", {}, "offlinerl_kit"),
    "rollouts_2000": ("rollouts", {}, "offlinerl_kit"),
    "rollouts_50000": ("rollouts", {"batch": 50_000}, "offlinerl_kit"),
    "penalised_2000": ("rollouts_penalised", {}, "offlinerl_kit"),
    "penalised_50000": ("rollouts_penalised", {"batch": 50_000}, "offlinerl_kit"),
    "filter_10": ("filter", {}, "morec"),
    "filter_40": ("filter", {"snapshots": 40}, "morec"),
    "filter_10_bfloat16": ("filter", {"precision": "bfloat16"}, "morec"),
    "filter_40_bfloat16": ("filter", {"snapshots": 40, "precision": "bfloat16"}, "morec"),
}
TOLERANCE = 1e-5
SECONDS = 1.5  # of the processor that a side's calls get in a turn, and at least two calls


def measure(side: str, work: str, folder: Path | None, results: Path | None, sizes: Sizes | None = None) -> dict:
    """Run one side in this process.

    Args:
        side: One of `SIDES`.
        work: One of `WORKS`.
        folder: The peer's checkout.
        results: A file for what is to agree with the other sides.
        sizes: Instead of those of the work, for tests.
    """
    torch.set_num_threads(1)
    kind, changed, _ = WORKS[work]
    sizes = sizes or Sizes(**changed)
    with contextlib.redirect_stdout(sys.stderr):  # the peers print
        if side in PEERS:
            run = peer(side, Path(folder or ""), kind, sizes)
        else:
            run = {"rewardlab": rewardlab_side, "bare": bare_side}[side](kind, sizes)
        held = _resident_bytes()
        forget_peak("cpu")
        run.call()
        peak = peak_bytes("cpu") - held
        seconds: list[float] = []
        while len(seconds) < 2 or sum(seconds) < SECONDS:
            start = time.process_time()
            run.call()
            seconds.append(time.process_time() - start)
    if results:
        np.savez(results, **run.results)
    return {"side": side, "seconds": [one / run.units for one in seconds], "peak_bytes": peak, "facts": run.facts}


def _resident_bytes() -> int:
    """What the process holds once it has given back what it can: else a second call would seem to need nothing."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    return 0


def compare(
    work: str, folders: dict[str, Path], rounds: int, *, say: Callable[[str], None] = lambda text: None
) -> dict[str, Any]:
    """All sides that can be had in turns, each time in a new process.

    Returns:
        By side: best and median seconds a unit (a training step, or a transition), peak bytes; and their ratios to
        ours.

    Raises:
        RuntimeError: If a side fails, or a peer and we did not compute the same.
    """
    theirs = WORKS[work][2]
    sides = ["rewardlab", "bare", *([theirs] if theirs in folders else [])]
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    peaks: dict[str, int] = {}
    facts: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as place:
        files = {side: Path(place) / f"{side}.npz" for side in sides}
        for turn in range(rounds):
            for side in sides if turn % 2 == 0 else sides[::-1]:
                say(f"{work}, round {turn + 1} of {rounds}: {side} (load of the machine {os.getloadavg()[0]:.1f})")
                found = _in_own_process(side, work, folders.get(side), files[side])
                seconds[side] += found["seconds"]
                peaks[side] = max(peaks.get(side, 0), found["peak_bytes"])
                facts |= found["facts"]
        if theirs in sides:
            agree(files["rewardlab"], files[theirs])
    best = {side: min(times) for side, times in seconds.items()}
    return {
        "work": work,
        "best": best,
        "median": {side: statistics.median(times) for side, times in seconds.items()},
        "peak_bytes": peaks,
        "ratio": {side: best[side] / best["rewardlab"] for side in sides[1:]},
        "facts": facts,
    }


def agree(ours: Path, theirs: Path) -> None:
    """Check that both sides computed the same.

    Raises:
        RuntimeError: Names what differs, and by how much.
    """
    with np.load(ours, allow_pickle=False) as found, np.load(theirs, allow_pickle=False) as expected:
        for name in found:
            apart = np.abs(found[name].astype(float) - expected[name].astype(float)).max()
            scale = max(1.0, np.abs(expected[name].astype(float)).max())
            if not apart <= TOLERANCE * scale:
                raise RuntimeError(f"{name} differs by {apart:.2g} from the peer's, expected {TOLERANCE * scale:.2g}")


def _in_own_process(side: str, work: str, folder: Path | None, results: Path) -> dict[str, Any]:
    arguments = ["--side", side, "--works", work, "--results", str(results)]
    arguments += ["--folder", str(folder)] if folder else []
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    run = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.dynamics_speed", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **threads, "JAXTYPING_DISABLE": "1"},
    )
    if run.returncode:
        raise RuntimeError(f"{side} ended with {run.returncode}: {run.stderr[-2000:]}")
    return json.loads(run.stdout.splitlines()[-1])


def table(results: list[dict[str, Any]]) -> str:
    """The comparison as text: microseconds a unit, peaks in MiB, ratios to ours."""
    rows = [
        f"{'':20}{'ours':>10}{'bare':>10}{'peer':>10}{'bare/ours':>11}{'peer/ours':>11}{'ours MiB':>10}{'peer MiB':>10}"
    ]
    for result in results:
        theirs = WORKS[result["work"]][2]
        times = [1e6 * result["best"].get(side, np.nan) for side in ("rewardlab", "bare", theirs)]
        ratios = [result["ratio"].get(side, np.nan) for side in ("bare", theirs)]
        peaks = [result["peak_bytes"].get(side, np.nan) / 2**20 for side in ("rewardlab", theirs)]
        rows.append(
            f"{result['work']:20}"
            + "".join(f"{value:10.2f}" for value in times)
            + "".join(f"{value:11.2f}" for value in ratios)
            + "".join(f"{value:10.0f}" for value in peaks)
            + "".join(f"  {name} {value:.2g}" for name, value in result["facts"].items() if value)
        )
    return "\n".join(rows)


def known_folders(given: dict[str, Path | None]) -> dict[str, Path]:
    """Checkouts of the peers, from the command line or the environment."""
    named = {name: given.get(name) or os.environ.get(variable) for name, variable in PEERS.items()}
    return {name: Path(folder) for name, folder in named.items() if folder}


def main() -> None:
    """Run what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--offlinerl-kit", type=Path, help="a checkout of yihaosun1124/OfflineRL-Kit")
    parser.add_argument("--morec", type=Path, help="a checkout of polixir/morec")
    parser.add_argument("--works", nargs="+", choices=WORKS, default=list(WORKS))
    parser.add_argument("--rounds", type=int, default=2, help="how often each side has its turn")
    parser.add_argument("--output", type=Path, help="a JSON file for the numbers")
    parser.add_argument("--side", choices=SIDES, help="one side alone, in this process")
    parser.add_argument("--folder", type=Path, help="with --side: the peer's checkout")
    parser.add_argument("--results", type=Path, help="with --side: an npz file for what the sides must agree on")
    given = parser.parse_args()
    if given.side:
        print(json.dumps(measure(given.side, given.works[0], given.folder, given.results)))
        return
    folders = known_folders({"offlinerl_kit": given.offlinerl_kit, "morec": given.morec})
    for name in sorted(set(PEERS) - set(folders)):
        print(f"{name} is left out: no checkout given", file=sys.stderr)
    results = [
        compare(work, folders, given.rounds, say=lambda text: print(text, file=sys.stderr, flush=True))
        for work in given.works
    ]
    print(table(results))
    if given.output:
        given.output.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
