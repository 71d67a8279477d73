"""Minari's data sets, read and written by the package minari, in its formats hdf5, arrow and parquet.

An episode of T steps holds T + 1 observations, so nothing is lost: a table comes back as it was, with the seeds of its
episodes and where it comes from. Of the package itself, three things to know: its normalised score lies in [0, 1] and
not in [0, 100]; its recorder, with `record_infos=True`, fails on environments whose reset and step infos differ in
keys (InvertedPendulum-v5), so leave that off; and it stores rewards in the type that they came in (whole numbers for
InvertedPendulum-v5), which the report of a reading names as a cast.

Source: Minari 0.5.4.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium import spaces

from environments.offline.formats.minari_files import check_files
from environments.offline.formats.repairs import Loaded, Repairs, assemble
from environments.offline.formats.writing import check_writable
from rewardlab.checks import check_choice
from rewardlab.transition_table import TransitionTable

__all__ = ["MinariFacts", "minari_facts", "observation_order", "read_minari", "write_minari"]

FORMATS = ("hdf5", "arrow", "parquet")
OURS = "rewardlab"  # key in metadata.json under which this module keeps what Minari has no place for
KEYS = {"next_observations": "observations", "terminals": "terminations", "timeouts": "truncations"}
NUMBERS = (spaces.Box, spaces.Discrete, spaces.MultiBinary, spaces.MultiDiscrete)


@dataclass(frozen=True, kw_only=True)
class MinariFacts:
    """What a data set says of itself.

    Args:
        dataset_id: Its name in Minari.
        env_id: Of the environment it was recorded in; None where it does not say.
        seeds: Of each episode; None where it does not say.
        provenance: As given to `write_minari`; empty for another's.
        reference_scores: Returns that Minari scores 0 and 1; None where it has none.
    """

    dataset_id: str
    env_id: str | None
    seeds: tuple[int | None, ...]
    provenance: dict[str, Any]
    reference_scores: tuple[float, float] | None


def read_minari(path: str | Path, *, repairs: Repairs | None = None) -> Loaded:
    """Read a data set.

    Dict and tuple observations and actions become one row of numbers, see `observation_order`. A step that both
    terminates and is truncated terminated, as gymnasium means it. Infos are not read.

    Args:
        path: Folder of the data set, or the folder `data` in it.
        repairs: What may be repaired; None: nothing. Actions are not checked unless it says their bounds. An episode
            with as many observations as steps lacks the last: that row is kept if it is terminal (`unknown_next` in
            the report) and left out otherwise (`rows_without_next`).

    Raises:
        ImportError: If minari, or what it needs for this format, is missing.
        FileNotFoundError: If the folder is not there.
        ValueError: If it holds no data set, or is not as it should be and the repair is not allowed. Names the episode
            or the row.
    """
    data = _data_folder(path)
    metadata = _metadata(data)
    check_files(data, metadata["data_format"], metadata["total_episodes"])
    storage = _storage(data, metadata)
    order = {"observations": storage.observation_space, "actions": storage.action_space}
    unknown = set(metadata.get(OURS, {}).get("unknown_next", ()))
    columns: dict[str, list[np.ndarray]] = {name: [] for name in ("observations", "actions", "rewards", *KEYS)}
    lengths, missing, infos = [], [], False
    for number, episode in _episodes(storage, data):
        parts = {name: _flat(episode[name], space, name, number, data) for name, space in order.items()}
        one = {name: np.asarray(episode[name]).reshape(-1) for name in ("rewards", "terminations", "truncations")}
        steps = _check_lengths(parts, one, number, data)
        observed = parts["observations"]
        lacks = len(observed) == steps
        columns["observations"].append(observed[:steps])
        columns["next_observations"].append(np.concatenate([observed[1:], observed[-1:]]) if lacks else observed[1:])
        columns["actions"].append(parts["actions"])
        columns["rewards"].append(one["rewards"])
        columns["terminals"].append(one["terminations"])
        columns["timeouts"].append(one["truncations"])
        lengths.append(steps)
        missing.append(lacks or number in unknown)
        infos = infos or bool(episode.get("infos"))
    if sum(lengths) != metadata["total_steps"]:
        raise ValueError(f"{data}: its episodes have {sum(lengths)} steps, and its metadata {metadata['total_steps']}")
    last = np.cumsum(lengths) - 1
    starts = np.zeros(sum(lengths), dtype=bool)
    starts[np.append(0, last[:-1] + 1)] = True
    next_valid = np.ones(len(starts), dtype=bool)
    next_valid[last] = ~np.array(missing)
    repairs = Repairs() if repairs is None else repairs
    if repairs.double_ends == "error":
        repairs = replace(repairs, double_ends="terminal")
    return assemble(
        {name: np.concatenate(values) for name, values in columns.items()},
        source=str(data.parent),
        repairs=repairs,
        keys=KEYS,
        starts=starts,
        next_valid=next_valid,
        unused=("infos",) if infos else (),
    )


def write_minari(
    path: str | Path,
    table: TransitionTable,
    *,
    dataset_id: str | None = None,
    data_format: Literal["hdf5", "arrow", "parquet"] = "hdf5",
    env_id: str | None = None,
    seeds: Sequence[int | None] | None = None,
    provenance: Mapping[str, Any] | None = None,
    reference_scores: tuple[float, float] | None = None,
) -> Path:
    """Write a table so that minari can load it and `read_minari` gives it back exactly.

    Args:
        path: Folder of the data set, which is not there yet. Where it is `<root>/<dataset_id>` and
            `MINARI_DATASETS_PATH` names the root, `minari.load_dataset(dataset_id)` finds it.
        table: What to write.
        dataset_id: Its name in Minari; None: the folder's.
        data_format: How.
        env_id: Of the environment it was recorded in, so that minari can make it again.
        seeds: Of each episode; None for those that had none.
        provenance: Anything that JSON can hold, kept in the metadata.
        reference_scores: Returns that Minari's own normalised score calls 0 and 1.

    Returns:
        The folder.

    Raises:
        FileExistsError: If the folder is there.
        ImportError: If minari, or what it needs for this format, is missing.
        ValueError: If a choice is none, there is not one seed an episode, the environment has other sizes, or a row
            that is not terminal lacks its next observation.
    """
    storage_class, buffer_class, minari_version = _minari()
    check_choice("data_format", data_format, FORMATS)
    check_writable(table, "Minari", open_ends="anywhere", unknown_next="terminal")
    path = Path(path)
    if path.exists():
        raise FileExistsError(f"{path} is there already")
    episodes = list(table)
    if seeds is not None and len(seeds) != len(episodes):
        raise ValueError(f"seeds has {len(seeds)} entries, expected one for each of {len(episodes)} episodes")
    spec = gymnasium.spec(env_id) if env_id is not None else None
    unknown = [number for number, episode in enumerate(episodes) if not episode.next_valid[-1]]
    ours = {"unknown_next": unknown, "provenance": dict(provenance or {})}
    json.dumps(ours, allow_nan=False)  # says what is wrong before anything is written
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as part:
        whole = Path(part) / path.name
        whole.mkdir()
        storage = storage_class.new(
            whole / "data",
            observation_space=_box(table.observation_size),
            action_space=_action_space(env_id, table),
            env_spec=spec,
            data_format=data_format,
        )
        facts = {"dataset_id": dataset_id or path.name, "minari_version": minari_version, OURS: ours}
        if reference_scores is not None:
            facts |= {"ref_min_score": float(reference_scores[0]), "ref_max_score": float(reference_scores[1])}
        storage.update_metadata(facts)
        storage.get_size = lambda: 0.0  # else arrow and parquet list all files again after each episode
        storage.update_episodes(
            buffer_class(
                id=number,
                seed=None if seeds is None or seeds[number] is None else int(seeds[number]),
                observations=np.concatenate([episode.observations, episode.next_observations[-1:]]),
                actions=episode.actions,
                rewards=episode.rewards,
                terminations=episode.terminals,
                truncations=episode.timeouts,
            )
            for number, episode in enumerate(episodes)
        )
        del storage.get_size
        storage.update_metadata({"dataset_size": float(storage.get_size())})
        whole.rename(path)
    return path


def minari_facts(path: str | Path) -> MinariFacts:
    """What a data set says of itself, without its rows.

    Raises:
        ImportError: If minari, or what it needs for this format, is missing.
        FileNotFoundError: If the folder is not there.
        ValueError: If it holds no data set.
    """
    data = _data_folder(path)
    metadata = _metadata(data)
    storage = _storage(data, metadata)
    scores = tuple(metadata.get(name) for name in ("ref_min_score", "ref_max_score"))
    spec = metadata.get("env_spec")
    try:
        seeds = [one.get("seed") for one in storage.get_episode_metadata(range(metadata["total_episodes"]))]
        return MinariFacts(
            dataset_id=str(metadata.get("dataset_id", data.parent.name)),
            env_id=json.loads(spec).get("id") if isinstance(spec, str) else None,
            seeds=tuple(None if seed is None else int(seed) for seed in seeds),
            provenance=metadata.get(OURS, {}).get("provenance", {}),
            reference_scores=None if None in scores else (float(scores[0]), float(scores[1])),
        )
    except (AttributeError, OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{data}: its metadata is not as minari writes it: {error!r}") from error


def observation_order(space: gymnasium.Space) -> tuple[tuple[str, int], ...]:
    """Parts of a flattened observation (or action) in order, with how many numbers each has.

    A dict's parts come in alphabetical order, as a space that was stored has lost any other; a tuple's come by place, a
    box's numbers row by row. A discrete value is one number.

    Raises:
        TypeError: If a part is an image, text, a sequence or anything else that is no fixed row of numbers.

    Example:
        >>> observation_order(spaces.Dict(goal=spaces.Box(-1, 1, (2,)), at=spaces.Tuple([spaces.Discrete(3)])))
        (('at.0', 1), ('goal', 2))
    """
    return tuple(_order(space, ""))


def _order(space: gymnasium.Space, name: str) -> Iterator[tuple[str, int]]:
    if isinstance(space, spaces.Dict | spaces.Tuple):
        for key in _keys(space):
            yield from _order(space[key], f"{name}.{key}" if name else str(key))
    elif isinstance(space, NUMBERS) and not (len(space.shape) > 1 and space.dtype == np.uint8):
        yield name, int(np.prod(space.shape))
    else:
        raise TypeError(f"{name or 'the space'} is {space}, which is no fixed row of numbers: it cannot be in a table")


def _keys(space: spaces.Dict | spaces.Tuple) -> list[Any]:
    return sorted(space.spaces) if isinstance(space, spaces.Dict) else list(range(len(space.spaces)))


def _flat(values: Any, space: gymnasium.Space, name: str, number: int, data: Path) -> np.ndarray:
    try:
        return np.concatenate(list(_columns(values, space)), axis=1)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise ValueError(f"{data}: episode {number}: {name} is not of the data set's space {space}: {error}") from error


def _columns(values: Any, space: gymnasium.Space) -> Iterator[np.ndarray]:
    if isinstance(space, spaces.Dict | spaces.Tuple):
        for key in _keys(space):
            yield from _columns(values[key], space[key])
        return
    size, values = int(np.prod(space.shape)), np.asarray(values)
    if values.ndim == 0 or values[:1].size != size:
        raise ValueError(f"it has shape {values.shape}, expected {size} numbers a step")
    yield values.reshape(len(values), size)


def _check_lengths(parts: dict, one: dict, number: int, data: Path) -> int:
    steps = len(one["rewards"])
    for name, found in {**one, **parts}.items():
        wanted = (steps, steps + 1) if name == "observations" else (steps,)
        if steps == 0 or len(found) not in wanted:
            raise ValueError(
                f"{data}: episode {number}: {name} has {len(found)} entries and rewards {steps}, expected "
                f"at least one reward, as many of all, and one more observation"
            )
    return steps


def _episodes(storage: Any, data: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Episodes as minari gives them; what it trips over becomes an error that names the episode."""
    episodes = None
    for number in range(storage.total_episodes):
        try:
            episodes = iter(storage.get_episodes(range(storage.total_episodes))) if episodes is None else episodes
            yield number, next(episodes)
        except StopIteration:
            raise ValueError(f"{data}: it has {number} episodes, and its metadata {storage.total_episodes}") from None
        except (AssertionError, IndexError, KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(f"{data}: episode {number}: minari cannot read it: {error!r}") from error


def _data_folder(path: str | Path) -> Path:
    path = Path(path)
    for folder in (path / "data", path):
        if (folder / "metadata.json").is_file():
            return folder
    raise FileNotFoundError(f"{path} holds no Minari data set: neither metadata.json nor data/metadata.json is there")


def _metadata(data: Path) -> dict[str, Any]:
    """The metadata, as far as it is used here; minari itself would make the environment that a file names."""
    try:
        metadata = json.loads((data / "metadata.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{data / 'metadata.json'} is no JSON: {error}") from error
    kinds = {
        "total_episodes": int,
        "total_steps": int,
        "data_format": str,
        "observation_space": str,
        "action_space": str,
    }
    for key, kind in kinds.items():
        if not isinstance(metadata, dict) or type(metadata.get(key)) is not kind:
            came = metadata.get(key, "missing") if isinstance(metadata, dict) else metadata
            raise ValueError(f"{data / 'metadata.json'}: {key} is {came!r:.80}, expected {kind.__name__}")
    if metadata["total_episodes"] < 1:
        raise ValueError(f"{data}: it has {metadata['total_episodes']} episodes, expected at least one")
    check_choice(f"{data}: data_format", metadata["data_format"], FORMATS)
    if not isinstance(metadata.get(OURS, {}), dict):
        raise ValueError(f"{data / 'metadata.json'}: {OURS} is {metadata[OURS]!r:.80}, expected a dict")
    return metadata


def _storage(data: Path, metadata: dict[str, Any]) -> Any:
    storage_class, _, _ = _minari()
    try:
        storage = storage_class.read(data)
    except (ValueError, KeyError, AssertionError, TypeError) as error:
        raise ValueError(f"{data}: minari cannot read it: {error!r}") from error
    for name in ("observation_space", "action_space"):
        try:
            observation_order(getattr(storage, name))
        except TypeError as error:
            raise ValueError(f"{data}: {name}: {error}") from error
    return storage


def _minari() -> tuple[Any, Any, str]:
    try:
        import minari
        from minari.data_collector import EpisodeBuffer
        from minari.dataset.minari_storage import MinariStorage
    except ImportError as error:
        raise ImportError(f"Minari's data sets need minari: pip install 'rewardlab[offline]' ({error})") from error
    return MinariStorage, EpisodeBuffer, minari.__version__


def _box(size: int) -> spaces.Box:
    return spaces.Box(-np.inf, np.inf, (size,), np.float32)


def _action_space(env_id: str | None, table: TransitionTable) -> gymnasium.Space:
    if env_id is None:
        return _box(table.action_size)
    env = gymnasium.make(env_id)
    space, observations = env.action_space, env.observation_space
    env.close()
    if observations.shape != (table.observation_size,) or space.shape != (table.action_size,):
        raise ValueError(
            f"the table has {table.observation_size} observations and {table.action_size} actions a row, and {env_id} "
            f"{observations.shape} and {space.shape}"
        )
    return spaces.Box(space.low, space.high, dtype=np.float32)
