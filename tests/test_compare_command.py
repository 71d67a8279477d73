"""`rewardlab compare` on real environments, with rewards written in a file beside the user."""

import os
import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import gymnasium
import pytest

from rewardlab.cli import main
from rewardlab.exact import from_gymnasium, greedy_regret, worst_case_regret

TAXI = max(name for name in gymnasium.registry if name.startswith("Taxi-v"))
REWARDS = """
    import numpy as np

    DISCOUNT = 0.99
    NUMBER = 3.0

    def goal(state, action, next_state):
        return 1.0 if next_state == 15 else 0.0

    def hurry(state, action, next_state):
        return (next_state == 15) - 0.04

    def shaped(state, action, next_state):
        potential = lambda cell: 0.0 if cell in (5, 7, 11, 12, 15) else -float(6 - cell // 4 - cell % 4)
        return 2 * goal(state, action, next_state) + DISCOUNT * potential(next_state) - potential(state)

    def opposite(state, action, next_state):
        return -1.0 * (next_state == 15)

    def nothing(state, action, next_state):
        return 0

    def every_step(state, action, next_state):
        return -1 + 0 * next_state

    def win(state, action, next_state):  # Blackjack: 707 and 708 are wins, 704 and 705 losses
        return 1.0 * (next_state >= 707) - 1.0 * ((next_state == 704) | (next_state == 705))

    def pair(state, action):
        return 0.0

    def holes_undefined(state, action, next_state):
        return float("nan") if next_state == 5 else 0.0

    def upright(state, action, next_state):
        return -abs(next_state[2])

    def upright_fast(state, action, next_state):
        return -3 * np.abs(next_state[:, 2]) + DISCOUNT * next_state[:, 0] - state[:, 0]

    def centred(state, action, next_state):
        return -np.abs(next_state[..., 0])
"""


@pytest.fixture
def beside_rewards(tmp_path, monkeypatch):
    (tmp_path / "my_rewards.py").write_text(dedent(REWARDS))
    (tmp_path / "broken.py").write_text("1 / 0\n")
    (tmp_path / "needs_more.py").write_text("import a_package_nobody_has\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    before = list(sys.path)
    yield tmp_path
    assert sys.path == before
    for name in ("my_rewards", "broken", "needs_more"):
        sys.modules.pop(name, None)


def run(capsys, *arguments):
    status = main(["compare", *arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def values(printed, row):
    return [float(value) for value in re.findall(rf"│ {re.escape(row)} +│ ([\d.]+)", printed)]


def test_a_shaped_reward_says_the_same(beside_rewards, capsys):
    status, out, _ = run(capsys, "FrozenLake-v1", "--reward", "my_rewards:shaped", "--against", "my_rewards:goal")
    assert status == 0
    for row in ("STARC (VAL)", "STARC (minimal)", "EPIC", "DARD", "greedy regret", "worst-case regret"):
        found = values(out, row)
        assert found, row
        assert max(found) == 0, row
    assert "2 x my_rewards:goal + shaping by a potential" in " ".join(out.split())
    assert "where the residual is largest" not in out


def test_a_step_penalty_is_seen_by_starc_and_not_by_epic(beside_rewards, capsys):
    status, out, _ = run(capsys, "FrozenLake-v1", "--reward", "my_rewards:hurry", "--against", "shipped")
    assert status == 0
    assert values(out, "STARC (VAL)")[0] > 0.5
    assert values(out, "EPIC") == [0]  # a constant is shaping only where episodes do not end
    assert len(values(out, "greedy regret")) == len(values(out, "worst-case regret")) == 2
    assert values(out, "worst-case regret")[0] >= values(out, "greedy regret")[0] > 0.5
    world = from_gymnasium("FrozenLake-v1")
    hurry = world.reward - 0.04
    for row, function in (("greedy regret", greedy_regret), ("worst-case regret", worst_case_regret)):
        judged_by_shipped = function(world.mdp, world.reward, hurry)
        judged_by_hurry = function(world.mdp, hurry, world.reward)
        expected = [float(getattr(regret, "regret", regret)) for regret in (judged_by_shipped, judged_by_hurry)]
        assert values(out, row) == pytest.approx(expected, abs=1e-4)
        assert abs(expected[0] - expected[1]) > 1e-3  # the two ways are not the same
    assert "they disagree about some policies" in " ".join(out.split())
    assert "row 0, column 1" in out.split("where the residual is largest")[1]


def test_opposite_and_trivial_rewards(beside_rewards, capsys):
    _, out, _ = run(capsys, "FrozenLake-v1", "--reward", "my_rewards:opposite", "--against", "shipped")
    assert values(out, "STARC (VAL)") == [2]
    assert values(out, "greedy regret") == [1, 1]
    assert "the opposite way" in " ".join(out.split())
    status, out, _ = run(capsys, "FrozenLake-v1", "--reward", "my_rewards:nothing", "--against", "shipped")
    assert status == 0
    assert "0.0000 to 1.0000, by ties" in out
    assert "undefined" in out
    assert "note: a reward is trivial" in out


@pytest.mark.parametrize("env", ["FrozenLake8x8-v1", "CliffWalking-v1", TAXI, "Blackjack-v1"])
def test_every_toy_text_environment(beside_rewards, capsys, env):
    reward = "my_rewards:win" if env == "Blackjack-v1" else "my_rewards:every_step"
    status, out, _ = run(capsys, env, "--reward", reward, "--against", "shipped", "--discount", "0.95")
    assert status == 0
    assert "solved exactly" in out
    assert "discount 0.95" in out
    if env == "Blackjack-v1":
        assert f"{reward} is identical to shipped" in " ".join(out.split())


def test_a_continuous_environment_from_samples(beside_rewards, capsys):
    arguments = ["CartPole-v1", "--reward", "my_rewards:upright", "--samples", "300", "--against"]
    status, out, _ = run(capsys, *arguments, "my_rewards:upright_fast")  # the same, scaled and shaped
    assert status == 0
    assert values(out, "EPIC from samples") == [0]
    assert "300 transitions under uniformly random actions" in out
    status, out, _ = run(capsys, *arguments, "my_rewards:centred")
    assert values(out, "EPIC from samples")[0] > 0.3
    assert run(capsys, *arguments, "my_rewards:centred")[1] == out  # the same seed, the same numbers


def test_continuous_actions_from_samples(beside_rewards, capsys):
    arguments = ["Pendulum-v1", "--reward", "my_rewards:centred", "--against", "my_rewards:centred", "--samples", "50"]
    status, out, _ = run(capsys, *arguments)
    assert status == 0
    assert values(out, "EPIC from samples") == [0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["FrozenLake-v1", "nowhere:goal"], "'nowhere:goal': there is no module 'nowhere' in the current directory"),
        (["FrozenLake-v1", "my_rewards.py:goal"], "no module 'my_rewards.py' .*; write my_rewards:goal"),
        (["FrozenLake-v1", "my_rewards"], "expected module:function, such as my_rewards:proxy, or 'shipped'"),
        (["FrozenLake-v1", "my_rewards:gaol"], "module 'my_rewards' has no 'gaol'; it has goal, hurry, shaped"),
        (
            ["FrozenLake-v1", "my_rewards:NUMBER"],
            r"expected a function \(state, action, next_state\) -> reward, got 3.0",
        ),
        (["FrozenLake-v1", "my_rewards:pair"], r"expected a function of .*, got one of \(state, action\)"),
        (["FrozenLake-v1", "broken:goal"], "module 'broken' fails when imported: ZeroDivisionError: division by zero"),
        (["FrozenLake-v1", "needs_more:goal"], "module 'needs_more' needs 'a_package_nobody_has', which is missing"),
        (
            ["FrozenLake-v1", "my_rewards:holes_undefined"],
            r"is nan, expected a finite .*, next state 5 \(row 1, column 1 \(hole\)\)",
        ),
        (["FrozenLake-v1", "my_rewards:goal", "--discount", "1.5"], r"discount is 1.5, expected a number in \[0, 1\]"),
        (
            ["FrozenLake-v1", "my_rewards:goal", "--samples", "100"],
            "FrozenLake-v1 is solved exactly.*leave out --samples",
        ),
        (["FrozenPond-v1", "my_rewards:goal"], "gymnasium cannot make 'FrozenPond-v1': Environment"),
        (["CartPole-v1", "my_rewards:upright"], r"CartPole-v1 has continuous observations .*\(--samples N\)"),
        (
            ["CartPole-v1", "my_rewards:upright", "--samples", "100"],
            "the shipped reward of CartPole-v1 is known only for",
        ),
        (["CartPole-v1", "my_rewards:upright", "--samples", "1"], "samples is 1, expected a number in"),
    ],
)
def test_what_the_user_got_wrong_is_named(beside_rewards, capsys, arguments, message):
    env, reward, *rest = arguments
    status, _, err = run(capsys, env, "--reward", reward, "--against", "shipped", *rest)
    assert status == 2
    assert re.search(message, " ".join(err.split())), err


@pytest.mark.parametrize(
    ("reward", "status", "stream", "text"),
    [
        ("my_rewards:shaped", 0, "stdout", "both order all policies the same way"),
        ("nowhere:x", 2, "stderr", "no module 'nowhere'"),
    ],
)
def test_from_a_shell(beside_rewards, reward, status, stream, text):
    command = [
        sys.executable,
        "-m",
        "rewardlab.cli",
        "compare",
        "FrozenLake-v1",
        "--reward",
        reward,
        "--against",
        "shipped",
    ]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, cwd=beside_rewards, env=environment)
    assert done.returncode == status, done.stderr
    assert text in " ".join(getattr(done, stream).split())
    assert "Traceback" not in done.stderr
