"""A pipeline as TOML and back: each part a table with its `kind` and its fields."""

import tomllib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

import tomli_w

from rewardlab.transforms import advantage_kinds, combiners, stages
from rewardlab.transforms.chains import Chain

if TYPE_CHECKING:
    from rewardlab.transforms.pipeline import Pipeline

__all__ = ["dump", "load"]


def _kinds(module, *names: str) -> dict[str, type]:
    return {getattr(module, name).name: getattr(module, name) for name in names}


REFERENCES = _kinds(stages, "Fixed", "Given", "GroupMean", "GroupQuantile")
STAGES = _kinds(
    stages,
    *("Centre", "ClipAbove", "ConcaveUtility", "LogSigmoid", "MinMax", "Rank"),
    *("RunningStandardise", "Scale", "Sigmoid", "ZScore"),
)
COMBINERS = _kinds(
    combiners, "Conjunction", "Median", "Minimum", "Product", "SoftMinimum", "WeightedMean", "WeightedSum"
)
ADVANTAGES = _kinds(
    advantage_kinds, "BatchStandardised", "LeaveOneOut", "MeanCentred", "NormaliseThenSum", "Standardised"
)
SECTIONS = ("signals", "combine", "after", "advantage")


def dump(pipeline: "Pipeline") -> str:
    """The pipeline as TOML.

    Raises:
        TypeError: If a stage is not one of this library's, so that nothing could read it back.
    """
    document: dict[str, Any] = {
        "signals": {name: _chain_table(stages_, f"signals.{name}") for name, stages_ in pipeline.signals.items()},
        "combine": _table(pipeline.combine, COMBINERS, "combine"),
    }
    if pipeline.after.stages:
        document["after"] = _chain_table(pipeline.after, "after")
    if pipeline.advantage is not None:
        document["advantage"] = _table(pipeline.advantage, ADVANTAGES, "advantage")
    return tomli_w.dumps(document)


def load(text: str) -> dict[str, Any]:
    """The arguments of the pipeline that the TOML describes.

    Raises:
        ValueError: If the text is not TOML, or names an unknown section, kind or field; says where.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"pipeline: not TOML: {error}") from None
    unknown = sorted(set(document) - set(SECTIONS))
    if unknown:
        raise ValueError(f"pipeline: unknown section {unknown[0]!r}, expected one of {', '.join(SECTIONS)}")
    signals = document.get("signals")
    if not isinstance(signals, Mapping) or not signals:
        raise ValueError("pipeline: expected a table [signals] with one signal at least")
    arguments: dict[str, Any] = {"signals": {n: _read_chain(tables, f"signals.{n}") for n, tables in signals.items()}}
    if "combine" in document:
        arguments["combine"] = _read(document["combine"], COMBINERS, "combine")
    if "after" in document:
        arguments["after"] = _read_chain(document["after"], "after")
    if "advantage" in document:
        arguments["advantage"] = _read(document["advantage"], ADVANTAGES, "advantage")
    return arguments


def _chain_table(stages_: Chain, where: str) -> list[dict[str, Any]]:
    return [_table(stage, STAGES, f"{where}[{place}]") for place, stage in enumerate(stages_.stages)]


def _table(part: Any, kinds: dict[str, type], where: str) -> dict[str, Any]:
    if type(part) is not kinds.get(part.name):
        raise TypeError(f"{where}: {part!r} is not one of this library's kinds and cannot be written as TOML")
    table: dict[str, Any] = {"kind": part.name}
    for entry in fields(part):
        value = getattr(part, entry.name)
        if not entry.compare or value is None:  # state, and what is left at "none"
            continue
        if is_dataclass(value):
            value = _table(value, REFERENCES, f"{where}.{entry.name}")
        table[entry.name] = dict(value) if isinstance(value, Mapping) else value
    return table


def _read_chain(tables: Any, where: str) -> Chain:
    if not isinstance(tables, list):
        raise ValueError(f"{where}: expected a list of stages, got {type(tables).__name__}")
    return Chain(tuple(_read(table, STAGES, f"{where}[{place}]") for place, table in enumerate(tables)))


def _read(table: Any, kinds: dict[str, type], where: str) -> Any:
    if not isinstance(table, Mapping) or "kind" not in table:
        raise ValueError(f"{where}: expected a table with a kind, got {table!r}")
    if table["kind"] not in kinds:
        raise ValueError(f"{where}: unknown kind {table['kind']!r}, expected one of {', '.join(sorted(kinds))}")
    kind = kinds[table["kind"]]
    known = [entry.name for entry in fields(kind) if entry.compare]
    given = {name: value for name, value in table.items() if name != "kind"}
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ValueError(f"{where}: {table['kind']} has no field {unknown[0]!r}, expected {', '.join(known) or 'none'}")
    if "reference" in given:
        given["reference"] = _read(given["reference"], REFERENCES, f"{where}.reference")
    try:
        return kind(**given)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from None
