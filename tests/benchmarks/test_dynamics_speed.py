"""Dynamics models and filters against OfflineRL-Kit and MOREC's official code; see `dynamics_speed`.

The promises, on one thread of a machine with nothing else to do: a training step at 7 members x 256 rows takes at most
1.2 of the bare products' time, which are two thirds of OfflineRL-Kit's; rollouts take a third of its time or less, but
not with MOPO's penalty, which needs the products of all members; a filter step takes at most 1.25 of the bare products'
time, which are more than a third of the official filter's: in float32 nobody can be three times as fast. With bfloat16
we are. The bounds below leave room for a busy machine. Peers are compared where OFFLINERL_KIT and MOREC name checkouts.
"""

import dataclasses

import numpy as np
import pytest

from tests.benchmarks.dynamics_peers import Run, Sizes, numbers, peer
from tests.benchmarks.dynamics_sides import bare_side, rewardlab_side
from tests.benchmarks.dynamics_speed import PEERS, WORKS, agree, compare, known_folders, measure, table

TINY = Sizes(hidden=(8, 8), embedding=(8, 8), head=(8,), rows=4, steps=2, batch=5, horizon=2, snapshots=3)
KINDS = sorted({kind for kind, *_ in WORKS.values()})


@pytest.mark.parametrize("kind", KINDS)
def test_every_side_runs(kind):
    ours, bare = rewardlab_side(kind, TINY), bare_side(kind, TINY)
    ours.call()
    bare.call()
    assert ours.units == bare.units > 0 and ours.results
    assert all(np.isfinite(values).all() for values in ours.results.values())


def test_numbers_are_the_same_every_time():
    one, other = numbers(TINY), numbers(TINY)
    np.testing.assert_array_equal(one["ensemble"][0][0], other["ensemble"][0][0])
    np.testing.assert_array_equal(one["starts"], other["starts"])
    assert [len(weight) for weight, _ in one["discriminator"]] == [3] * 4


def test_rounding_is_reported():
    rounded = rewardlab_side("filter", dataclasses.replace(TINY, precision="bfloat16"))
    assert 0 < rounded.facts["largest_rounding"] < 0.05
    assert rewardlab_side("filter", TINY).facts["largest_rounding"] == 0


def test_sides_that_disagree(tmp_path):
    np.savez(tmp_path / "ours.npz", mean=np.ones(3))
    np.savez(tmp_path / "theirs.npz", mean=np.array([1.0, 1.0, 1.001]))
    agree(tmp_path / "ours.npz", tmp_path / "ours.npz")
    with pytest.raises(RuntimeError, match=r"mean differs by 0\.001"):
        agree(tmp_path / "ours.npz", tmp_path / "theirs.npz")
    np.savez(tmp_path / "theirs.npz", mean=np.full(3, np.nan))
    with pytest.raises(RuntimeError, match="mean differs by nan"):
        agree(tmp_path / "ours.npz", tmp_path / "theirs.npz")


def test_a_folder_that_is_no_checkout(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected a checkout of morec"):
        peer("morec", tmp_path, "filter", TINY)


def test_what_is_measured(monkeypatch):
    monkeypatch.setattr("tests.benchmarks.dynamics_speed.SECONDS", 0.0)
    monkeypatch.setattr(
        "tests.benchmarks.dynamics_speed.bare_side", lambda kind, sizes: Run(lambda: np.ones(2_000_000).sum(), 4.0, {})
    )
    found = measure("bare", "training", None, None, TINY)
    assert len(found["seconds"]) == 2 and all(0 <= one < 1 for one in found["seconds"])
    assert 10e6 < found["peak_bytes"] < 100e6  # 16 MB


def test_peers_are_named_by_the_command_or_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("MOREC", "elsewhere")
    monkeypatch.delenv("OFFLINERL_KIT", raising=False)
    assert known_folders({"morec": tmp_path}) == {"morec": tmp_path}
    assert {name: str(folder) for name, folder in known_folders({}).items()} == {"morec": "elsewhere"}


def test_the_table_without_peers():
    result = {
        "work": "filter_40",
        "best": {"rewardlab": 2e-6, "bare": 1e-6},
        "peak_bytes": {"rewardlab": 2**20, "bare": 0},
        "ratio": {"bare": 0.5},
        "facts": {"largest_rounding": 0.003},
    }
    (row,) = table([result]).splitlines()[1:]
    assert row.split() == ["filter_40", "2.00", "1.00", "nan", "0.50", "nan", "1", "nan", "largest_rounding", "0.003"]


@pytest.mark.slow
@pytest.mark.parametrize("work", WORKS)
def test_how_fast(work, capsys, record_property):
    folders = known_folders({})
    result = compare(work, folders, rounds=2)
    with capsys.disabled():
        print("\n" + table([result]))
        missing = sorted(set(PEERS) - set(folders))
        if WORKS[work][2] in missing:
            print(f"{WORKS[work][2]} was left out: no checkout given")
    for side, ratio in result["ratio"].items():
        record_property(side, ratio)
    kind, changed, theirs = WORKS[work]
    against_bare, against_peer = result["ratio"]["bare"], result["ratio"].get(theirs)
    if kind in ("training", "filter"):
        assert against_bare >= 1 / (1.35 if kind == "training" else 1.25)
    if against_peer is not None:
        promise = {"training": 1.15, "rollouts": 3.0, "rollouts_penalised": 1.1, "filter": 1.9}[kind]
        assert against_peer >= (3.0 if changed.get("precision") else promise)
