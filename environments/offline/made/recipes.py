"""Data sets by name that are made here once and kept: small, quick, and the same for every figure and experiment.

The policies of the inverted pendulum are one training of SAC, stopped early and late; the hopper's is a training that
is far from an expert's. Trainings take about 40 and 65 seconds (pendulum), 300 (hopper) of one core, recordings a few.
The sets are Minari's, in the folder of `environments.offline.made.cache`, with where they come from in their metadata.

| name | return | episodes end by |
|---|---|---|
| inverted-pendulum/random | 5 | falling |
| inverted-pendulum/medium | about 340 | falling |
| inverted-pendulum/medium-replay | 30 | falling |
| inverted-pendulum/expert | 1000 | time limit |
| inverted-pendulum/mixed | both | both |
| hopper/random | 18 | falling |
| hopper/medium | about 630 | falling |
| hopper/medium-replay | about 240 | falling |

Other versions of the libraries give other numbers, and are kept beside these; another kind of processor may as well.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType

from environments.offline.formats.minari_format import minari_facts, read_minari, write_minari
from environments.offline.made.behaviours import BehaviourSettings, kept_behaviour, versions
from environments.offline.made.cache import made_once
from environments.offline.made.making import MadeDataset, Protocol, make_dataset
from rewardlab.checks import check_choice, check_scalar

__all__ = ["RECIPES", "Recipe", "kept_dataset", "kept_folder"]

VERSION = 1  # of the recordings: another one where they would come out otherwise


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a data set is made.

    Args:
        env_id: Of gymnasium.
        protocol: See `make_dataset`.
        behaviours: Trainings of its policies: none for "random", two for "mixed".
        mean_share: See `make_dataset`.
    """

    env_id: str
    protocol: Protocol
    behaviours: tuple[BehaviourSettings, ...] = ()
    mean_share: float | None = None


_PENDULUM, _HOPPER = "InvertedPendulum-v5", "Hopper-v5"
_EARLY, _LATE = BehaviourSettings(steps=9_900), BehaviourSettings(steps=16_000)
_HOPPING = BehaviourSettings(steps=45_000, hidden=(128, 128), learning_rate=7e-4, learning_starts=2_000)
RECIPES: MappingProxyType[str, Recipe] = MappingProxyType(
    {
        "inverted-pendulum/random": Recipe(env_id=_PENDULUM, protocol="random"),
        "inverted-pendulum/medium": Recipe(env_id=_PENDULUM, protocol="medium", behaviours=(_EARLY,)),
        "inverted-pendulum/medium-replay": Recipe(env_id=_PENDULUM, protocol="medium-replay", behaviours=(_EARLY,)),
        "inverted-pendulum/expert": Recipe(env_id=_PENDULUM, protocol="expert", behaviours=(_LATE,)),
        "inverted-pendulum/mixed": Recipe(env_id=_PENDULUM, protocol="mixed", behaviours=(_EARLY, _LATE)),
        "hopper/random": Recipe(env_id=_HOPPER, protocol="random"),
        "hopper/medium": Recipe(env_id=_HOPPER, protocol="medium", behaviours=(_HOPPING,)),
        "hopper/medium-replay": Recipe(env_id=_HOPPER, protocol="medium-replay", behaviours=(_HOPPING,)),
    }
)
"""How each is made, by name."""


def kept_dataset(
    name: str,
    *,
    rows: int | None = None,
    seed: int = 0,
    on_step: Callable[[int, dict[str, float]], None] | None = None,
) -> MadeDataset:
    """A data set by name: made the first time, read from then on.

    Args:
        name: One of `RECIPES`.
        rows: At least so many, in whole episodes. None: 10,000, and of a replay all.
        seed: Of trainings and recording.
        on_step: Progress of a training, as `train_behaviour` tells it.

    Raises:
        ImportError: If something that makes or reads it is missing.
        ValueError: If there is no such name, or a number is out of range.

    Example:
        kept_dataset("hopper/medium").table  # a few minutes the first time, a second from then on
    """
    folder = kept_folder(name, rows=rows, seed=seed, on_step=on_step)
    facts = minari_facts(folder)
    return MadeDataset(read_minari(folder).table, facts.provenance, facts.seeds)


def kept_folder(
    name: str,
    *,
    rows: int | None = None,
    seed: int = 0,
    on_step: Callable[[int, dict[str, float]], None] | None = None,
) -> Path:
    """Folder of the Minari data set that `kept_dataset` reads, made if it is not there; arguments and errors alike."""
    check_choice("name", name, RECIPES)
    check_scalar("seed", seed, low=0, whole=True)
    recipe = RECIPES[name]
    if rows is None and recipe.protocol != "medium-replay":
        rows = 10_000
    key = hashlib.sha256(json.dumps([VERSION, asdict(recipe), rows, seed, versions()]).encode()).hexdigest()[:16]
    dataset_id = f"{name.replace('/', '-')}-{key}-v0"

    def make(folder: Path) -> None:
        policies = [kept_behaviour(recipe.env_id, one, seed=seed, on_step=on_step) for one in recipe.behaviours]
        policy = tuple(policies) if recipe.protocol == "mixed" else policies[0] if policies else None
        made = make_dataset(recipe.env_id, policy, recipe.protocol, rows=rows, seed=seed, mean_share=recipe.mean_share)
        provenance = {"name": name, **made.provenance}
        options = {"env_id": recipe.env_id, "seeds": made.seeds, "provenance": provenance}
        write_minari(folder / "set", made.table, dataset_id=dataset_id, **options)
        (folder / "set" / "data").rename(folder / "data")
        (folder / "set").rmdir()

    return made_once(dataset_id, make)
