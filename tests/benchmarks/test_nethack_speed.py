"""What NetHack's wrapper and intrinsic rewards cost; see `nethack_speed`.

The promises, on one thread of a machine with nothing else to do: game and intrinsic reward, with labels known, take at
most 1.05 of the time of a step of gymnasium's own NLE; 10,000 new messages are judged within a second; memory stays
flat. The bounds below leave room for a busy machine.
"""

import jaxtyping
import numpy as np
import pytest
import torch

from paper_figures.intrinsic_throughput_study import LAYERS, played
from tests.benchmarks import nethack_speed

BUSY = 1.3  # how much a busy machine, or types checked at run time, may add


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def told(work, record_property, capsys, **arguments):
    found = nethack_speed.WORKS[work](**arguments)
    for name, value in found.items():
        record_property(name, value)
    with capsys.disabled():
        print(f"\n{work}: " + ", ".join(f"{name} {value:,.4g}" for name, value in found.items()))
    return found


def test_every_layer_plays_the_same_games():
    """What the ratios are of: otherwise one side might have the easier games."""
    actions = np.random.default_rng(0).integers(23, size=(150, 3))
    seen = {}
    for name, side in played(3, rollout=32).items():
        side.begin(5)
        side.play(actions)
        seen[name] = np.array(side.statuses())
        side.close()
    for name in LAYERS[1:]:
        np.testing.assert_array_equal(seen[name], seen["nle"], err_msg=name)


def test_messages_are_distinct():
    texts = nethack_speed.messages(10_000)
    assert len(set(texts)) == len(texts) == 10_000


@pytest.mark.slow
def test_game_and_intrinsic_reward(record_property, capsys, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    found = told("steps", record_property, capsys, rounds=5)
    assert found["game_and_intrinsic_over_nle"] <= 1.05 * BUSY


@pytest.mark.slow
def test_ten_thousand_messages(record_property, capsys):
    assert told("messages", record_property, capsys)["seconds"] <= 1.0


@pytest.mark.slow
def test_the_published_network(record_property, capsys):
    assert told("network", record_property, capsys, count=512)["judged_per_second"] > 100


@pytest.mark.slow
def test_one_process_is_faster_than_many(record_property, capsys):
    found = told("processes", record_property, capsys, length=100)
    assert found["one_process_per_second"] > 1.2 * found["processes_per_second"]


@pytest.mark.slow
def test_memory_stays_flat(record_property, capsys):
    assert told("memory", record_property, capsys)["growth_bytes"] < 16e6
