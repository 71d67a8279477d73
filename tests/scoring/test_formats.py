"""Readers: real files where there are any, rows as published otherwise, and errors that say where."""

import gzip
import json
import re

import numpy as np
import pytest

from environments import data
from rewardlab.scoring import (
    FormatError,
    read_hh_rlhf,
    read_llmbar,
    read_pairwise_verdicts,
    read_reward_bench,
    read_reward_bench_2,
    read_rmb_best_of_n,
    read_solution_scores,
    read_step_pairs,
    read_step_scores,
    read_tara,
)

REWARD_BENCH = {"prompt": "2+2?", "chosen": "4", "rejected": "5", "subset": "math-prm", "id": 17}
REWARD_BENCH_2 = {
    "id": "tied:3",
    "prompt": "Name a colour",
    "chosen": ["red", "blue"],
    "rejected": ["seven"],
    "num_correct": 2,
    "total_completions": 3,
    "subset": "Ties",
}
RMB = {
    "bon_uid": "b1",
    "conversation_input": [{"role": "user", "content": "Hello"}],
    "bon_best": {"llm_name": "a", "answer": "Good day"},
    "loser_list": [{"llm_name": "b", "answer": "No"}, {"llm_name": "c", "answer": "What"}],
    "category_path": "Chat/Greeting",
}
ANSWER = {"answer": "4", "score": 1, "actions": {}, "score_agent": {"explanation": "", "score": "1"}}
TARA = {"id": "t", "question": "?", "pos_answer": ANSWER, "neg_answer": ANSWER | {"score": 0.0}}
LLMBAR = {
    "input": "?",
    "output_1": "a",
    "output_2": "b",
    "label": 2,
    "results": [{"swap = False": {"winner": "1"}, "swap = True": {"winner": "None"}}],
}
SCORES = {"problem": "p", "solution_reference": ["x", "human_to_GPT-4", "y"], "score": [0.25, 1, -2]}
STEPS = SCORES | {"score": [[0.5], [0.9, 0.8], [0.1, 0.2, 0.3]]}
VERDICTS = {"problem": "p", "solution_reference": ["x", "y"], "score": ["A", None], "chosen_position": ["A", "B"]}
PAIRS = [
    {"problem": "p", "problem_id": 0, "solution_type": kind, "output": {"step_scores": steps}}
    for kind, steps in (("rejected", [0.1, 0.2]), ("chosen", [0.9]))
]


@pytest.fixture
def write(tmp_path):
    def written(*rows):
        file = tmp_path / "rows.json"
        file.write_text(json.dumps(rows))
        return file

    return written


def test_real_hh_rlhf():
    rows = read_hh_rlhf(data.path("hh-rlhf/harmless-base-test.jsonl.gz"))
    assert len(rows) == 2312
    assert all(row.chosen.startswith("\n\nHuman:") for row in rows)
    longer = np.mean([len(row.chosen) > len(row.rejected) for row in rows])
    assert round(100 * float(longer), 1) == 44.3


def test_real_llmbar_verdicts():
    agree = {}
    for judge in ("GPT-4", "Falcon"):
        rows = [
            row
            for part in (
                "Natural",
                "Adversarial/GPTInst",
                "Adversarial/GPTOut",
                "Adversarial/Manual",
                "Adversarial/Neighbor",
            )
            for row in read_llmbar(data.path(f"llmbar/{part}/evaluators/{judge}/Vanilla/result.json"))
        ]
        assert len(rows) == 419
        agree[judge] = np.mean([row.winners[0] == row.winners[1] for row in rows])
    assert agree["GPT-4"] > 0.8 > agree["Falcon"]  # a weak judge mostly names a position
    palm = read_llmbar(data.path("llmbar/Natural/evaluators/PaLM2/Vanilla/result.json"))
    assert sum(winner is None for row in palm for winner in row.winners) == 4


def test_real_tara():
    pairs = [name for name in data.names("tara/") if not re.search(r"truthful_qa|history", name)]
    rows = [row for name in pairs for row in read_tara(data.path(name))]
    assert len(rows) == 8839 - 4114
    assert all(row.right.score > row.wrong.score for row in rows)
    assert sum(row.right.actions is None for row in rows) == 45
    with pytest.raises(FormatError, match=r"agent_truthful_qa_test_0-500.json, line 1 has no field 'pos_answer'"):
        read_tara(data.path("tara/truthful_qa/agent_truthful_qa_test_0-500.json"))


def test_reward_bench(write):
    (row,) = read_reward_bench(write(REWARD_BENCH))
    assert (row.id, row.chosen, row.rejected, row.subset) == ("17", "4", "5", "math-prm")


def test_reward_bench_2(write):
    (row,) = read_reward_bench_2(write(REWARD_BENCH_2))
    assert (row.id, row.chosen, row.rejected) == ("tied:3", ("red", "blue"), ("seven",))


def test_rmb(write):
    (row,) = read_rmb_best_of_n(write(RMB))
    assert (row.best, row.losers, row.conversation) == ("Good day", ("No", "What"), (("user", "Hello"),))


def test_the_right_solution_is_moved_to_the_front(write):
    found = read_solution_scores(write(SCORES))
    assert found.scores.tolist() == [[1, 0.25, -2]]
    assert found.sources == (("human_to_GPT-4", "x", "y"),)


def test_scores_by_problem_in_another_order(write):
    again = [SCORES | {"problem": problem, "score": [place, 0, 0]} for place, problem in enumerate("abca")]
    found = read_solution_scores(write(*again))
    assert found.of(["c", "a", "b"])[:, 1].tolist() == [2, 3, 1]
    with pytest.raises(KeyError):
        found.of(["d"])


def test_step_scores_are_padded(write):
    found = read_step_scores(write(STEPS))
    assert found.steps.tolist() == [[[0.9, 0.8, 0], [0.5, 0, 0], [0.1, 0.2, 0.3]]]
    assert found.present.sum(axis=-1).tolist() == [[2, 1, 3]]
    assert found.aggregate("last").scores.tolist() == [[0.8, 0.5, 0.3]]


def test_step_pairs_are_joined_by_problem(write):
    found = read_step_pairs(write(*PAIRS))
    assert found.aggregate("max").scores.tolist() == [[0.9, 0.2]]


def test_verdicts(write):
    assert read_pairwise_verdicts(write(VERDICTS)).won.tolist() == [[True, False]]


def test_lines_and_gzip_are_read_like_lists(tmp_path, write):
    expected = read_reward_bench(write(REWARD_BENCH, REWARD_BENCH))
    lines = tmp_path / "rows.jsonl"
    lines.write_text(f"{json.dumps(REWARD_BENCH)}\n\n{json.dumps(REWARD_BENCH)}\n")
    packed = tmp_path / "rows.jsonl.gz"
    packed.write_bytes(gzip.compress(lines.read_bytes()))
    assert read_reward_bench(lines) == read_reward_bench(packed) == expected


def test_a_line_separator_inside_a_string_is_no_new_row(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(REWARD_BENCH | {"prompt": "a\u2028b"}, ensure_ascii=False), encoding="utf-8")
    assert read_reward_bench(file)[0].prompt == "a\u2028b"


def without(row, field):
    return {name: value for name, value in row.items() if name != field}


@pytest.mark.parametrize(
    ("read", "rows", "message"),
    [
        (read_reward_bench, [REWARD_BENCH, without(REWARD_BENCH, "chosen")], "row 1 has no field 'chosen'; it has 'p"),
        (read_reward_bench, [REWARD_BENCH | {"prompt": 3}], "row 0, field 'prompt': expected a string, got 3"),
        (read_reward_bench, [REWARD_BENCH | {"id": True}], "field 'id': expected a string or a whole number, got true"),
        (read_reward_bench, [[1]], "row 0: expected an object, got [1]"),
        (read_reward_bench, [], "has no rows, expected at least one"),
        (
            read_reward_bench_2,
            [REWARD_BENCH_2 | {"num_correct": 1}],
            "'num_correct': expected 2, the number of ans",
        ),
        (read_reward_bench_2, [REWARD_BENCH_2 | {"total_completions": 4.0}], "expected a whole number, got 4.0"),
        (read_reward_bench_2, [REWARD_BENCH_2 | {"rejected": [1]}], "field 'rejected': expected a list of strings"),
        (read_rmb_best_of_n, [RMB | {"loser_list": []}], "field 'loser_list': expected at least one loser, got []"),
        (read_rmb_best_of_n, [RMB | {"loser_list": [{}]}], "field 'loser_list'[0] has no field 'answer'"),
        (read_rmb_best_of_n, [RMB | {"conversation_input": ["hi"]}], "expected a list of objects"),
        (read_hh_rlhf, [{"chosen": "a"}], "row 0 has no field 'rejected'; it has 'chosen'"),
        (read_tara, [TARA | {"neg_answer": ANSWER | {"score": "good"}}], "'neg_answer', field 'score': expected a num"),
        (
            read_tara,
            [TARA | {"pos_answer": ANSWER | {"actions": 1}}],
            "expected an object or a string, got 1",
        ),
        (read_llmbar, [LLMBAR | {"label": 3}], "field 'label': expected one of 1, 2, got 3"),
        (read_llmbar, [LLMBAR | {"results": []}], "field 'results': expected one result, got []"),
        (
            read_llmbar,
            [LLMBAR | {"results": [{"swap = False": {"winner": 1}}]}],
            "field 'winner': expected one of",
        ),
        (read_solution_scores, [SCORES, SCORES | {"score": [1, 2]}], "row 1, field 'score': expected 3 scores"),
        (read_solution_scores, [SCORES | {"score": [1, None, 2]}], "expected a list of numbers, got [1, null, 2]"),
        (read_solution_scores, [STEPS], "field 'score': expected a list of numbers, got [[0.5], [0.9"),
        (
            read_solution_scores,
            [SCORES | {"solution_reference": ["x", "y", "z"]}],
            "expected one right solution (",
        ),
        (read_step_scores, [SCORES], "expected a list of lists of numbers, none empty, got [0.25, 1, -2]"),
        (read_step_scores, [STEPS | {"score": [[0.5], [], [0.1]]}], "none empty, got [[0.5], [], [0.1]]"),
        (read_step_pairs, PAIRS[:1], "problem_id 0 has only a rejected solution, expected both"),
        (read_step_pairs, PAIRS + PAIRS[:1], 'expected one rejected solution of problem 0, got "rejected"'),
        (
            read_pairwise_verdicts,
            [VERDICTS | {"score": ["A", "C"]}],
            'expected a list of "A", "B" or null, got [',
        ),
        (read_pairwise_verdicts, [VERDICTS | {"chosen_position": ["A", None]}], 'expected 2 letters, each "A" or "B"'),
    ],
)
def test_an_error_names_row_and_field(write, read, rows, message):
    file = write(*rows)
    with pytest.raises(FormatError, match=re.escape(message)) as raised:
        read(file)
    assert str(file) in str(raised.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a Git LFS pointer and not the file itself"),
        (b'[{"a": 1}', "is not valid JSON"),
        (b'{"a": 1}\n{"a": \n', "line 2 is not valid JSON"),
        (b"\x1f\x8bbroken", "expected JSON text, gzipped or not"),
        (b"\xff\xfe", "expected JSON text, gzipped or not"),
        (b"", "has no rows"),
    ],
)
def test_a_file_that_is_no_rows(tmp_path, content, message):
    file = tmp_path / "rows.json"
    file.write_bytes(content)
    with pytest.raises(FormatError, match=message):
        read_hh_rlhf(file)
