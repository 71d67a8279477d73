"""The reasoning worlds as gymnasium environments: registered, checked, vectorised, seeded and learned on."""

import subprocess
import sys
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env as check_env_for_learning
from stable_baselines3.common.env_util import make_vec_env

from environments import reasoning
from environments.reasoning.arithmetic_chain import ArithmeticProblem, draw_problem
from environments.reasoning.filler_chain import filler_chain
from environments.reasoning.filler_chain_env import StepWorldEnv
from environments.reasoning.synthetic_prm import SyntheticPRM
from rewardlab.process.step_world import evaluate_policy

FILLER, ARITHMETIC = "rewardlab/FillerChain-v0", "rewardlab/ArithmeticChain-v0"
PROBLEM = ArithmeticProblem(7, (("+", 5), ("*", 3)))


def begun(name=ARITHMETIC, **options):
    env = gymnasium.make(name, **options)
    env.reset(seed=0, options={"problem": PROBLEM} if name == ARITHMETIC else None)
    return env


# registered


def test_registered_once_and_for_all():
    before = {name: gymnasium.spec(name) for name in reasoning.IDS}
    reasoning.register()
    assert all(gymnasium.spec(name) is spec for name, spec in before.items())
    assert set(before) == {FILLER, ARITHMETIC, "rewardlab/Search-v0"}


@pytest.mark.parametrize("name", sorted(reasoning.IDS))
def test_gymnasium_finds_each_by_itself(name):
    made = f"gymnasium.make('environments.reasoning:{name}')"
    code = f"import gymnasium; env = {made}; env.reset(seed=0); print(env.spec.id)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == name


@pytest.mark.parametrize(
    ("name", "options"),
    [
        (FILLER, {}),
        (FILLER, {"hazard": 0.3, "levels": 1}),
        (ARITHMETIC, {}),
        (ARITHMETIC, {"prm": SyntheticPRM(noise=0.1)}),
    ],
)
def test_gymnasium_has_nothing_to_say(name, options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make(name, **options).unwrapped)


def test_stable_baselines3_has_nothing_to_say():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env_for_learning(gymnasium.make(FILLER).unwrapped)


# the filler chain


def test_an_episode_of_the_filler_chain():
    env = gymnasium.make(FILLER)
    assert (env.observation_space.n, env.action_space.n) == (8, 5)
    assert env.reset() == (0, {})
    assert env.step(0) == (2, 0.0, False, False, {"step_score": 0.8})
    assert env.step(3) == (2, 0.0, False, False, {"step_score": 0.9})
    assert env.step(0) == (3, 0.0, False, False, {"step_score": 0.1})
    assert env.step(4) == (3, 0.0, True, False, {"step_score": 0.1, "correct": False, "cut": False})
    env.reset()
    for action in (0, 1, 2):
        env.step(action)
    assert env.step(4) == (6, 1.0, True, False, {"step_score": 0.9, "correct": True, "cut": False})


def test_the_horizon_and_the_hazard_cut_an_episode():
    env = begun(FILLER, horizon=2)
    env.step(3)
    assert env.step(3)[2:] == (True, False, {"step_score": 0.9, "correct": False, "cut": True})
    env = begun(FILLER, hazard=1.0)
    assert env.step(0)[2] is False
    assert env.step(3)[2:] == (True, False, {"step_score": 0.9, "correct": False, "cut": True})
    env = begun(FILLER, horizon=1, levels=0)
    assert env.step(1)[2:] == (True, False, {"step_score": 0.9, "correct": True, "cut": False})


def test_episodes_come_to_what_the_exact_world_says():
    world = filler_chain(hazard=0.15, levels=2, horizon=6)
    policy = np.full((world.states, world.actions), 1 / world.actions)
    policy[[0, 2, 4], [0, 1, 3]] += 2
    policy /= policy.sum(1, keepdims=True)
    env, rng, episodes = StepWorldEnv(world), np.random.default_rng(0), 3000
    successes = steps = 0.0
    for episode in range(episodes):
        state, _ = env.reset(seed=0 if episode == 0 else None)
        ended = False
        while not ended:
            state, reward, ended, _, info = env.step(rng.choice(world.actions, p=policy[state]))
            steps += 1
        successes += reward
        assert reward == info["correct"]
    exact = evaluate_policy(world, policy)
    assert successes / episodes == pytest.approx(float(exact.success), abs=4 * 0.5 / np.sqrt(episodes))
    assert steps / episodes == pytest.approx(float(exact.length), abs=4 * 2 / np.sqrt(episodes))


def test_hazards_follow_the_seed():
    def survived(seed):
        env = gymnasium.make(FILLER, hazard=0.2, horizon=50)
        env.reset(seed=seed)
        steps = 1
        while not env.step(3)[2]:
            steps += 1
        return steps

    assert [survived(seed) for seed in range(8)] == [survived(seed) for seed in range(8)]
    assert len({survived(seed) for seed in range(8)}) > 2


@pytest.mark.parametrize("action", [-1, 5, 1.5, "fill", None])
def test_actions_that_do_not_exist(action):
    with pytest.raises(ValueError, match=r"action is .*, expected a whole number from 0 to 4"):
        begun(FILLER).step(action)


@pytest.mark.parametrize(("name", "last"), [(FILLER, 4), (ARITHMETIC, "Answer: 1")])
def test_nothing_follows_the_end(name, last):
    env = begun(name)
    env.step(last)
    with pytest.raises(RuntimeError, match="no episode is under way"):
        env.step(last)
    with pytest.raises(RuntimeError, match="no episode is under way"):
        gymnasium.make(name).unwrapped.step(last)


# arithmetic


def test_an_episode_of_arithmetic():
    env = gymnasium.make(ARITHMETIC, prm=SyntheticPRM(carried=0.4))
    text, info = env.reset(options={"problem": PROBLEM})
    assert (text, info) == (PROBLEM.prompt, {})
    text, *rest = env.step("7 + 5 = 13")
    assert text == PROBLEM.prompt + "\n7 + 5 = 13"
    assert rest == [0.0, False, False, {"kind": "equation", "verdict": -1, "step_score": 0.1}]
    assert env.step("Step ready.")[1:] == (
        0.0, False, False, {"kind": "statement", "verdict": 0, "step_score": 0.9},
    )  # fmt: skip
    assert env.step("13 * 3 = 39")[4] == {"kind": "equation", "verdict": 1, "step_score": 0.4}
    assert env.step("Answer: 39")[1:] == (
        0.0, True, False, {"kind": "answer", "verdict": -1, "step_score": 0.4, "correct": False},
    )  # fmt: skip
    env.reset(options={"problem": PROBLEM})
    text, *rest = env.step("The answer is 36.")
    assert text.endswith("\nThe answer is 36.")
    assert rest == [1.0, True, False, {"kind": "answer", "verdict": 1, "step_score": 0.9, "correct": True}]


def test_lines_run_out():
    env = begun(max_steps=2)
    env.step("🙂")
    assert env.step("36")[1:] == (0.0, True, False, {"kind": "statement", "verdict": 0, "correct": False})


def test_problems_follow_the_seed():
    first, again = (gymnasium.make(ARITHMETIC, operations=4) for _ in range(2))
    texts = [first.reset(seed=3)[0], first.reset()[0], first.reset()[0]]
    assert texts == [again.reset(seed=3)[0], again.reset()[0], again.reset()[0]]
    assert len(set(texts)) == 3
    assert len(first.unwrapped.task.problem.operations) == 4
    assert first.reset(seed=4)[0] != texts[0]


def test_every_solution_of_a_solver_can_be_played():
    env = gymnasium.make(ARITHMETIC)
    for seed in range(30):
        problem = draw_problem(3, seed)
        text, _ = env.reset(options={"problem": problem})
        for step in problem.solution:
            assert env.observation_space.contains(text)
            text, reward, ended, _, _ = env.step(step)
        assert (reward, ended) == (1.0, True)
        assert env.observation_space.contains(text)


@pytest.mark.parametrize("action", ["7 + 5\n= 12", "x" * 121, 12, None, "д"])
def test_actions_that_are_no_line(action):
    with pytest.raises(ValueError, match="expected one line of at most 120 characters"):
        begun().step(action)


def test_the_longest_lines_fit_the_observation():
    env = begun(max_steps=30)
    for _ in range(30):
        text = env.step("y" * 120)[0]
    assert env.observation_space.contains(text)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"problems": PROBLEM}, ValueError, "options has 'problems', expected 'problem' or nothing"),
        ({"problem": "Add 5."}, TypeError, r"options\['problem'\]: expected an ArithmeticProblem, got str"),
        ({"problem": ArithmeticProblem(1, (("+", 1),) * 200)}, ValueError, "has a prompt of .* expected at most 1000"),
    ],
)
def test_bad_options(options, error, message):
    with pytest.raises(error, match=message):
        gymnasium.make(ARITHMETIC).reset(options=options)


def test_bad_arguments():
    with pytest.raises(ValueError, match="operations is 0"):
        gymnasium.make(ARITHMETIC, operations=0)
    with pytest.raises(ValueError, match="max_steps is 0"):
        gymnasium.make(ARITHMETIC, max_steps=0)
    with pytest.raises(TypeError, match="prm: expected something to call"):
        gymnasium.make(ARITHMETIC, prm=0.9)


# vectorised


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_vectors_of_filler_chains(mode):
    envs = gymnasium.make_vec(FILLER, num_envs=3, vectorization_mode=mode, levels=1)
    assert envs.reset(seed=0)[0].tolist() == [0, 0, 0]
    states, rewards, *_, infos = envs.step(np.array([0, 1, 2]))
    assert (states.tolist(), rewards.tolist()) == ([2, 0, 0], [0, 0, 0])
    assert infos["step_score"].tolist() == [0.8, 0.9, 0.1]
    assert envs.step(np.array([2, 2, 0]))[1].tolist() == [1, 0, 0]
    envs.close()


@pytest.mark.parametrize(
    "options",
    [{"vectorization_mode": "sync"}, {"vectorization_mode": "async", "vector_kwargs": {"shared_memory": False}}],
)
def test_vectors_of_arithmetic(options):
    envs = gymnasium.make_vec(ARITHMETIC, num_envs=2, **options)
    texts, _ = envs.reset(seed=5)
    one = gymnasium.make(ARITHMETIC)
    assert list(texts) == [one.reset(seed=5)[0], one.reset(seed=6)[0]]
    texts, rewards, *_, infos = envs.step(("1 + 1 = 2", f"Answer: {one.unwrapped.task.problem.answer}"))
    assert texts[0].endswith("1 + 1 = 2")
    assert (rewards.tolist(), infos["verdict"].tolist()) == ([0, 1], [1, 1])
    envs.close()


# learned on


class Paid(gymnasium.Wrapper):
    """Adds a share of each step's score to the reward."""

    def step(self, action):
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, reward + 0.3 * info["step_score"], terminated, truncated, info


def learned(steps, wrapper=None, **options):
    """(share of right answers, mean length) of PPO's policy in 200 episodes after so many steps."""
    envs = make_vec_env(lambda: gymnasium.make(FILLER, **options), n_envs=8, seed=0, wrapper_class=wrapper)
    model = PPO(
        "MlpPolicy", envs, n_steps=64, batch_size=128, n_epochs=8, gamma=1.0, learning_rate=2e-3, ent_coef=0.01, seed=0,
        device="cpu",
    )  # fmt: skip
    model.learn(steps)
    states, ends, length, rights = envs.reset(), 0, 0, 0
    while ends < 200:
        states, _, dones, infos = envs.step(model.predict(states)[0])
        length += len(dones)
        ends += int(dones.sum())
        rights += sum(info["correct"] for info, done in zip(infos, dones, strict=True) if done)
    return rights / ends, length / ends


def test_ppo_learns_to_answer():
    success, length = learned(4096, levels=1)
    assert success > 0.9
    assert length < 4


@pytest.mark.slow
def test_ppo_solves_the_whole_chain_for_success_and_pads_it_for_step_scores():
    success, length = learned(60_000)
    assert success > 0.9
    assert length < 6
    success, length = learned(60_000, wrapper=Paid)
    assert success < 0.1
    assert length > 10
