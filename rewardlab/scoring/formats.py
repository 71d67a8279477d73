"""Readers of preference data in the forms that their authors publish: a path in, typed rows out.

Every reader takes a path that holds a JSON list or JSON lines, gzipped or not, and raises a `FormatError` that names
the file, the row and the field where something is not as published. Fields that no score needs are left out.
"""

from dataclasses import dataclass
from pathlib import Path

from rewardlab.scoring.rows import Row, read_rows

__all__ = [
    "BestOfN",
    "JudgedPair",
    "PreferencePair",
    "RewardBench2Row",
    "RewardBenchRow",
    "ToolAnswer",
    "ToolPair",
    "read_hh_rlhf",
    "read_llmbar",
    "read_reward_bench",
    "read_reward_bench_2",
    "read_rmb_best_of_n",
    "read_tara",
]


@dataclass(frozen=True, slots=True)
class RewardBenchRow:
    """A prompt, a better and a worse answer, the subset it belongs to and its id."""

    id: str
    prompt: str
    chosen: str
    rejected: str
    subset: str


@dataclass(frozen=True, slots=True)
class RewardBench2Row:
    """A prompt with its right and wrong answers; in all domains but Ties one right and three wrong."""

    id: str
    prompt: str
    chosen: tuple[str, ...]
    rejected: tuple[str, ...]
    subset: str


@dataclass(frozen=True, slots=True)
class BestOfN:
    """A conversation, the best answer to it and two to six worse ones; `category` is a path from broad to narrow."""

    id: str
    conversation: tuple[tuple[str, str], ...]
    best: str
    losers: tuple[str, ...]
    category: str


@dataclass(frozen=True, slots=True)
class PreferencePair:
    """Two whole transcripts, of which the first was preferred."""

    chosen: str
    rejected: str


@dataclass(frozen=True, slots=True)
class ToolAnswer:
    """An answer, what it is worth by label, the tool use that checked it, and how the agent rated it and why.

    One of TARA's files (retarded_bar) has labels only; the other three fields are None there.
    """

    answer: str
    score: float
    actions: dict | str | None
    explanation: str | None
    agent_score: float | None


@dataclass(frozen=True, slots=True)
class ToolPair:
    """A question with a right and a wrong answer, both checked with tools."""

    id: str
    question: str
    right: ToolAnswer
    wrong: ToolAnswer


@dataclass(frozen=True, slots=True)
class JudgedPair:
    """An instruction, two outputs, which is better, and which a judge preferred in either order of presentation.

    Args:
        instruction: What was asked.
        outputs: The two outputs.
        label: 1 or 2, the better output.
        winners: What the judge named when output 1 came first and when output 2 came first, each 1, 2 or None where its
            answer could not be read; already mapped back, so a judge without position bias says the same twice.
    """

    instruction: str
    outputs: tuple[str, str]
    label: int
    winners: tuple[int | None, int | None]


def read_reward_bench(path: str | Path) -> tuple[RewardBenchRow, ...]:
    """Rows of RewardBench (arXiv 2403.13787).

    Args:
        path: The file, JSON or JSON lines, plain or gzipped.

    Returns:
        One row a pair of answers, in the file's order.

    Raises:
        FormatError: If the file is not of this form; names file, row and field.
    """
    return tuple(
        RewardBenchRow(
            row.label("id"), row.text("prompt"), row.text("chosen"), row.text("rejected"), row.text("subset")
        )
        for row in read_rows(path)
    )


def read_reward_bench_2(path: str | Path) -> tuple[RewardBench2Row, ...]:
    """Rows of RewardBench 2 (arXiv 2506.01937); the numbers of answers must be those the row says it has.

    Args:
        path: The file, JSON or JSON lines, plain or gzipped.

    Returns:
        One row a prompt with its right and wrong answers, in the file's order.

    Raises:
        FormatError: If the file is not of this form; names file, row and field.
    """
    rows = []
    for row in read_rows(path):
        chosen, rejected = row.texts("chosen"), row.texts("rejected")
        for field, found in (("num_correct", len(chosen)), ("total_completions", len(chosen) + len(rejected))):
            if row.whole(field) != found:
                raise row.error(field, f"{found}, the number of answers in the row")
        rows.append(RewardBench2Row(row.label("id"), row.text("prompt"), chosen, rejected, row.text("subset")))
    return tuple(rows)


def read_rmb_best_of_n(path: str | Path) -> tuple[BestOfN, ...]:
    """Best-of-n lists of RMB (arXiv 2410.09893).

    Args:
        path: The file, JSON or JSON lines, plain or gzipped.

    Returns:
        One list a conversation: the best answer and at least one that should lose to it.

    Raises:
        FormatError: If the file is not of this form; names file, row and field.
    """
    rows = []
    for row in read_rows(path):
        losers = row.rows("loser_list")
        if not losers:
            raise row.error("loser_list", "at least one loser")
        turns = tuple((turn.text("role"), turn.text("content")) for turn in row.rows("conversation_input"))
        rows.append(
            BestOfN(
                row.label("bon_uid"),
                turns,
                row.row("bon_best").text("answer"),
                tuple(loser.text("answer") for loser in losers),
                row.text("category_path"),
            )
        )
    return tuple(rows)


def read_hh_rlhf(path: str | Path) -> tuple[PreferencePair, ...]:
    """Pairs of transcripts of HH-RLHF (arXiv 2204.05862).

    Args:
        path: The file, JSON or JSON lines, plain or gzipped.

    Returns:
        One pair a row, whole transcripts.

    Raises:
        FormatError: If the file is not of this form; names file, row and field.
    """
    return tuple(PreferencePair(row.text("chosen"), row.text("rejected")) for row in read_rows(path))


def read_tara(path: str | Path) -> tuple[ToolPair, ...]:
    """Pairs of TARA (arXiv 2310.01045); its TruthfulQA files hold single labelled answers and are refused.

    Args:
        path: The file, JSON or JSON lines, plain or gzipped.

    Returns:
        One pair of answers a question, with the tools each was checked by where the file has them.

    Raises:
        FormatError: If the file is not of this form; names file, row and field.
    """
    return tuple(
        ToolPair(
            row.label("id"),
            row.text("question"),
            _tool_answer(row.row("pos_answer")),
            _tool_answer(row.row("neg_answer")),
        )
        for row in read_rows(path)
    )


def read_llmbar(path: str | Path) -> tuple[JudgedPair, ...]:
    """A judge's verdicts on LLMBar (arXiv 2310.07641).

    Args:
        path: The file, JSON or JSON lines, plain or gzipped.

    Returns:
        One pair of outputs a row, with the judge's winner in either order of presentation.

    Raises:
        FormatError: If the file is not of this form; names file, row and field.
    """
    rows = []
    for row in read_rows(path):
        results = row.rows("results")
        if len(results) != 1:
            raise row.error("results", "one result")
        winners = tuple(_winner(results[0].row(f"swap = {swapped}")) for swapped in (False, True))
        outputs = (row.text("output_1"), row.text("output_2"))
        rows.append(JudgedPair(row.text("input"), outputs, int(row.choice("label", (1, 2))), winners))
    return tuple(rows)


def _tool_answer(row: Row) -> ToolAnswer:
    if "score_agent" not in row.fields and "actions" not in row.fields:
        return ToolAnswer(row.text("answer"), row.number("score"), None, None, None)
    agent = row.row("score_agent")
    return ToolAnswer(
        row.text("answer"),
        row.number("score"),
        row.any_of("actions", dict, str),
        agent.text("explanation"),
        agent.number("score"),
    )


def _winner(row: Row) -> int | None:
    winner = row.choice("winner", ("1", "2", "None", None))
    return int(winner) if winner in ("1", "2") else None
