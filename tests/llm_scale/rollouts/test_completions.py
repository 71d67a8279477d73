import pytest
import torch

from llm_scale.rollouts.completions import Completions


def completions(**changes):
    parts = {
        "prompts": [[5, 6], [7]],
        "group": 2,
        "ids": torch.tensor([[3, 2, 0], [4, 4, 4], [2, 0, 0], [3, 3, 2]]),
        "mask": torch.tensor([[1, 1, 0], [1, 1, 1], [1, 0, 0], [1, 1, 1]]).bool(),
        "log_probs": torch.zeros(4, 3),
        "ended": torch.tensor([True, False, True, True]),
    }
    return Completions(**parts | changes)


def test_rows_belong_to_prompts_by_group():
    batch = completions()
    assert batch.samples == 4
    assert [batch.prompt_of(row) for row in range(4)] == [[5, 6], [5, 6], [7], [7]]
    assert batch.lengths.tolist() == [2, 3, 1, 3]
    assert [batch.completion_of(row) for row in range(4)] == [[3, 2], [4, 4, 4], [2], [3, 3, 2]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"group": 3}, r"ids has shape \(4, 3\), expected \(6, tokens\): 2 prompts x 3 samples"),
        ({"mask": torch.ones(4, 2, dtype=torch.bool)}, r"mask has shape \(4, 2\), expected \(4, 3\)"),
        ({"log_probs": torch.zeros(4)}, r"log_probs has shape \(4,\), expected \(4, 3\)"),
        ({"ended": torch.ones(3, dtype=torch.bool)}, r"ended has shape \(3,\), expected \(4,\)"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        completions(**changes)
