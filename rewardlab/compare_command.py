"""`rewardlab compare`: how different two rewards are in an environment, what that costs, and what the difference is."""

import importlib
import math
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import gymnasium
import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rewardlab.arrays import Array
from rewardlab.checks import check_scalar
from rewardlab.distance import collect_transitions, dard, epic, explain_difference, sample_epic, starc
from rewardlab.exact import FiniteMDP, greedy_regret, worst_case_regret
from rewardlab.exact.reward_function import StepReward, check_signature, evaluate_step_reward
from rewardlab.exact.toy_text import ToyTextWorld, from_gymnasium, has_exact_world, make_environment

__all__ = ["compare", "load_reward"]

SHIPPED = "shipped"
_CARRIERS = 5  # rows of the table that says where two rewards disagree


def compare(
    env: str, reward: str, against: str, samples: int | None = None, discount: float = 0.99, rng: int = 0
) -> None:
    """Print how different two rewards are in an environment.

    A reward is named as `module:function`, found from the current directory or among the installed packages, and is a
    function `f(state, action, next_state) -> reward`, of one transition or of arrays of them. It is asked about every
    combination of state, action and next state, also those that cannot happen, because EPIC compares rewards on all of
    them. States are the environment's observations as integers; `ToyTextWorld.observations` says how Blackjack's are
    numbered. `shipped` is the environment's own reward.

    Args:
        env: Id of a gymnasium environment.
        reward: The reward in question.
        against: The reward it is held against: what is really wanted.
        samples: Number of transitions to draw with uniformly random actions where the environment is no exact world.
        discount: Discount factor in [0, 1].
        rng: Seed of the drawn transitions.

    Raises:
        TypeError, ValueError: If a name, a function, what it returns, or a number is not as described.
    """
    check_scalar("discount", discount, low=0, high=1)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    with _current_directory_importable():
        made = make_environment(env)
        try:
            functions = {name: load_reward(name) for name in (reward, against)}
            if samples is None:
                _compare_exactly(console, from_gymnasium(made, discount=discount), reward, against, functions)
            elif has_exact_world(made):
                raise ValueError(f"{env} is solved exactly, without sampling; leave out --samples")
            else:
                check_scalar("samples", samples, low=2)
                _compare_samples(console, made, env, (reward, against), functions, samples, discount, rng)
        finally:
            made.close()


def load_reward(name: str) -> StepReward | None:
    """The function called `module:function`; None for `shipped`.

    Raises:
        ValueError: If it is written otherwise, or the module or the function is not there; the message says which.
        TypeError: If it is not a function of (state, action, next_state).
    """
    if name == SHIPPED:
        return None
    module_name, colon, attribute = name.partition(":")
    if not (module_name and colon and attribute):
        raise ValueError(f"reward {name!r}: expected module:function, such as my_rewards:proxy, or {SHIPPED!r}")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            hint = f"; write {module_name[:-3]}:{attribute}" if module_name.endswith(".py") else ""
            raise ValueError(
                f"reward {name!r}: there is no module {module_name!r} in the current directory or among the installed "
                f"packages{hint}"
            ) from error
        raise ValueError(f"reward {name!r}: module {module_name!r} needs {error.name!r}, which is missing") from error
    except Exception as error:
        raise ValueError(
            f"reward {name!r}: module {module_name!r} fails when imported: {type(error).__name__}: {error}"
        ) from error
    function = getattr(module, attribute, None)
    if function is None:
        there = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise ValueError(
            f"reward {name!r}: module {module_name!r} has no {attribute!r}; it has {', '.join(there) or 'no functions'}"
        )
    return check_signature(function, f"reward {name!r}")


def _compare_exactly(
    console: Console, world: ToyTextWorld, reward: str, against: str, functions: dict[str, StepReward | None]
) -> None:
    mdp = world.mdp
    tables = {
        name: world.reward if function is None else world.tabulate(function, f"reward {name!r}")
        for name, function in functions.items()
    }
    ours, theirs = tables[reward], tables[against]
    both_ways = ((reward, against, theirs, ours), (against, reward, ours, theirs))
    console.print(
        Text(world.name, style="bold"),
        f"{mdp.states} states, {mdp.actions} actions, discount {mdp.discount:g}, solved exactly\n",
    )
    with _collected_warnings() as notes:
        table = Table("", "value", "range", "what it says", title=f"{reward}  against  {against}", title_justify="left")
        for label, distance, scale, meaning in _distances(mdp, ours, theirs):
            table.add_row(label, _number(distance), scale, meaning)
        table.add_section()
        for optimised, judge, true, proxy in both_ways:
            meaning = f"lost in {judge} by optimising {optimised}"
            table.add_row("greedy regret", _greedy(mdp, true, proxy), "0 to 1", meaning)
        for optimised, judge, true, proxy in both_ways:
            meaning = f"most that can be lost in {judge} while {optimised} does not fall"
            table.add_row("worst-case regret", _number(worst_case_regret(mdp, true, proxy).regret), "0 to 1", meaning)
        explanation = explain_difference(mdp, ours, theirs)
    console.print(table)
    sentence = explanation.sentence(reward, against)
    console.print(Text(f"\n{sentence}"))
    carriers = explanation.carriers(_CARRIERS, states=world.state_labels, actions=world.action_labels)
    if len(carriers):
        console.print(_carrier_table(carriers))
    _print_notes(console, notes)


def _distances(mdp: FiniteMDP, ours: np.ndarray, theirs: np.ndarray) -> tuple[tuple[str, Array, str, str], ...]:
    minimal = starc(mdp, ours, theirs, canonicaliser="minimal")
    return (
        ("STARC (VAL)", starc(mdp, ours, theirs), "0 to 2", "0: all policies in the same order; 2: opposite"),
        ("STARC (minimal)", minimal, "0 to 2", "the same, by least squares: the distance named below"),
        ("EPIC", epic(mdp, ours, theirs), "0 to 1", "compares on all transitions, as if endless"),
        ("DARD", dard(mdp, ours, theirs), "0 to 1", "compares on transitions that can happen, as if endless"),
    )


def _compare_samples(
    console: Console,
    env: gymnasium.Env,
    env_name: str,
    names: tuple[str, str],
    functions: dict[str, StepReward | None],
    samples: int,
    discount: float,
    rng: int,
) -> None:
    if None in functions.values():
        raise ValueError(
            f"the shipped reward of {env_name} is known only for steps that were taken, but EPIC asks about jumps "
            f"between any two states; write it as a function of (state, action, next_state)"
        )
    draw, rest = np.random.default_rng(rng).spawn(2)
    transitions = collect_transitions(env, samples, draw)
    sampled = [_on_samples(functions[name], f"reward {name!r}") for name in names]
    with _collected_warnings() as notes:
        distance = sample_epic(*sampled, transitions, discount, rng=rest)
    console.print(
        Text(env_name, style="bold"),
        f"{samples} transitions under uniformly random actions, discount {discount:g}, seed {rng}\n",
    )
    table = Table("", "value", "range", "what it says", title="{}  against  {}".format(*names), title_justify="left")
    table.add_row("EPIC from samples", _number(distance), "0 to 1", "0: the same up to scale and shaping; 1: opposite")
    console.print(table)
    console.print(
        Text("\nIt covers what random actions reach; regret, STARC and an explanation need a world solved exactly.")
    )
    _print_notes(console, notes)


def _on_samples(function: StepReward, name: str) -> Callable:
    def reward(states, actions, next_states, terminated):
        return evaluate_step_reward(function, states, actions, next_states, name)

    return reward


def _greedy(mdp: FiniteMDP, true: np.ndarray, proxy: np.ndarray) -> str:
    """Greedy regret, with both ends where several policies are optimal for the proxy and not equally good."""
    least, most = (float(greedy_regret(mdp, true, proxy, ties=ties)) for ties in ("optimistic", "pessimistic"))
    return _number(most) if most - least < 5e-5 else f"{_number(least)} to {_number(most)}, by ties"


def _number(value: Array) -> str:
    return "undefined" if math.isnan(float(value)) else f"{abs(float(value)):.4f}"


def _carrier_table(carriers: pd.DataFrame) -> Table:
    table = Table(title="\nwhere the residual is largest", title_justify="left")
    for name, justify in (("state", "left"), ("action", "left"), ("residual", "right"), ("share", "right")):
        table.add_column(name, justify=justify)
    for row in carriers.itertuples():
        table.add_row(row.state_name, row.action_name, f"{row.residual:+.3g}", f"{row.share:.1%}")
    return table


def _print_notes(console: Console, notes: list[warnings.WarningMessage]) -> None:
    for text in dict.fromkeys(str(note.message) for note in notes):
        console.print(Text(f"note: {text}", style="yellow"))


@contextmanager
def _collected_warnings() -> Iterator[list[warnings.WarningMessage]]:
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        yield notes


@contextmanager
def _current_directory_importable() -> Iterator[None]:
    """Modules beside the user, as with `python -m`; the whole comparison, as a reward may import when it is called."""
    before = list(sys.path)
    sys.path.insert(0, os.getcwd())
    try:
        yield
    finally:
        sys.path[:] = before
