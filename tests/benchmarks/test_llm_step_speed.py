"""A training step of `llm_scale.grpo` against TRL's GRPOTrainer, each side in a process of its own; see `llm_step`.

The promise on a CPU is half of TRL's time or less for SmolLM2, 2 prompts x 8 samples, 32 new tokens, float32, on a
machine with nothing else to do. The test of the tiny model is there to see that both sides do the same work.
"""

import pytest

pytest.importorskip("trl")

import torch

from tests.benchmarks.llm_step import PARTS, SIDES, Work, compare, needed_flops, summary, table


@pytest.mark.parametrize("lengths", ["equal", "natural"])
def test_both_sides_do_the_same_work(lengths):
    work = Work(model="tiny-test", tokens=6, steps=2, lengths=lengths, threads=1)
    result = compare(work, rounds=1)  # raises where prompts or lengths differ
    for side in SIDES:
        numbers = result[side]
        if lengths == "equal":
            assert numbers["tokens"] == 2 * 8 * 6
        assert sum(numbers[part] for part in PARTS) == pytest.approx(numbers["median"], rel=0.5)
        assert 0 < numbers["best"] <= numbers["median"] and numbers["peak_bytes"] > 1e8
    assert "sampled_tokens_a_second" in table(result)


def test_operations_that_a_step_needs():
    model = torch.nn.Sequential(torch.nn.Embedding(5, 2), torch.nn.Linear(2, 3), torch.nn.Linear(2, 5, bias=False))
    model.get_input_embeddings = lambda: model[0]
    model.get_output_embeddings = lambda: model[2]
    assert needed_flops(model, [4, 6], [1, 2, 3, 4]) == 8 * (9 * 20 + 10 * 10)
    model[2].weight = model[0].weight  # tied: the output layer's work stays
    assert needed_flops(model, [4, 6], [1, 2, 3, 4]) == 8 * (9 * 20 + 10 * 10)


def test_what_the_steps_come_to():
    steps = [
        {
            "step": seconds,
            "processor": seconds,
            "generation": 1.0,
            **dict.fromkeys(PARTS[1:], 0.5),
            "lengths": [3, 5],
            "flops": 6.0,
        }
        for seconds in (4.0, 3.0, 5.0)
    ]
    runs = [
        {"steps": steps[:2], "peak_bytes": 7, "multiplication_rate": 2.0},
        {"steps": steps[2:], "peak_bytes": 9, "multiplication_rate": 4.0},
    ]
    numbers = summary(runs)
    assert (numbers["best"], numbers["median"], numbers["peak_bytes"], numbers["tokens"]) == (3.0, 4.0, 9, 8)
    assert numbers["sampled_tokens_a_second"] == 8.0 and numbers["tokens_a_second"] == 2.0
    assert numbers["share_of_rate"] == 6 / 3 / 4


@pytest.mark.slow
def test_smollm2_steps_in_half_of_trl_s_time(record_property):
    result = compare(Work(steps=3), rounds=2)
    print("\n" + table(result))
    for name, ratio in result["ratios"].items():
        record_property(name, ratio)
    assert result["ratios"]["best"] >= 2
