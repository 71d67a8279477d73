import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.distributed.tensor import DTensor

from llm_scale.running.distributed import World, wrap
from tests.llm_scale.running import processes


def test_one_process_is_a_world_of_its_own():
    world = World.single()
    assert world == World.current() and world.is_main and world.size == 1
    assert world.split([3, 1, 2]) == [3, 1, 2]
    assert world.sum(2.5) == 2.5 and world.gather("a") == ["a"]
    world.barrier()


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_every_prompt_goes_to_one_process_and_counts_differ_by_one_at_most(size):
    shares = [World(rank, size).split(range(7)) for rank in range(size)]
    assert [item for share in shares for item in share] == list(range(7))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_fewer_prompts_than_processes_are_refused():
    with pytest.raises(ValueError, match="2 prompts for 3 processes, expected at least one for each"):
        World(0, 3).split([1, 2])


def test_kinds_are_checked():
    with pytest.raises(ValueError, match=r"kind is 'fsdp', expected"):
        wrap(None, World.single(), kind="fsdp")
    with pytest.raises(ValueError, match=r'kind is "none" for 2 processes, which would train 2 models'):
        wrap(None, World(0, 2), kind="none")


@pytest.mark.parametrize("kind", ["none", "ddp", "fsdp2"])
def test_for_one_process_all_kinds_are_the_plain_model(kind):
    _, policy, _, found = processes.one_step(World.single(), kind)
    expected = processes.one_step(World.single(), "none")[3]
    assert not any(isinstance(parameter, DTensor) for parameter in policy.parameters())
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("lora", [False, True])
def test_gradients_accumulated_over_parts_are_the_whole_batch_s(lora):
    whole = processes.one_step(World.single(), "none", lora=lora)[3]
    parts = processes.one_step(World.single(), "none", passes=3, lora=lora)[3]
    torch.testing.assert_close(parts, whole, rtol=1e-9, atol=1e-12)


def test_accumulation_in_single_precision_agrees_to_a_millionth():
    whole = processes.one_step(World.single(), "none", dtype="float32")[3]
    parts = processes.one_step(World.single(), "none", dtype="float32", passes=4)[3]
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-6)


def test_bfloat16_autocast_trains_float32_weights():
    exact = processes.one_step(World.single(), "none", dtype="float32")[3]
    lm, _, _, rough = processes.one_step(World.single(), "none", dtype="float32", autocast=True)
    assert lm.dtype == torch.float32
    every = [torch.cat([grads[name].flatten() for name in exact if name != "norm"]) for grads in (exact, rough)]
    assert torch.cosine_similarity(*every, dim=0) > 0.99  # bfloat16 keeps 8 bits
    assert not torch.equal(*every)


def test_state_is_trained_weights_only_and_comes_back():
    _, policy, optimiser, _ = processes.one_step(World.single(), "none", lora=True)
    weights, _ = policy.state(optimiser)
    assert weights and all("lora" in name for name in weights)
    processes.check_state(policy, optimiser)


def test_weights_of_another_model_are_refused():
    _, policy, optimiser, _ = processes.one_step(World.single(), "none")
    weights, state = policy.state(optimiser)
    gone = weights.popitem()[0]
    with pytest.raises(ValueError, match=f"differ: {gone}"):
        policy.load_state(weights, optimiser, state)


KINDS = ("ddp", "ddp+parts", "ddp+lora", "ddp+bf16", "fsdp2", "fsdp2+parts", "fsdp2+lora", "fsdp2+bf16", "torch_ddp")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What two processes under torchrun computed, for each kind."""
    folder = tmp_path_factory.mktemp("processes")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [*command, "-m", "tests.llm_scale.running.processes", str(folder), *KINDS],
        capture_output=True,
        text=True,
        timeout=200,
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return {kind: load_file(folder / f"{kind}.safetensors") for kind in KINDS}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_get_the_gradient_of_one(found, kind):
    extra = kind.split("+")[1:]
    bf16 = "bf16" in extra
    dtype = "float32" if bf16 else "float64"
    _, policy, optimiser, expected = processes.one_step(
        World.single(), "none", lora="lora" in extra, autocast=bf16, dtype=dtype
    )
    expected = processes.report(policy, optimiser, expected)
    assert found[kind].keys() == expected.keys()
    largest = max(float(value.abs().max()) for name, value in expected.items() if name.startswith("gradient/"))
    for name, value in expected.items():
        if name.startswith("gradient/") or name == "norm":
            # half precision: the split changes which sums are rounded
            torch.testing.assert_close(found[kind][name], value, rtol=0, atol=1e-2 * largest if bf16 else 1e-9)
        elif not bf16:
            torch.testing.assert_close(found[kind][name], value, rtol=0, atol=1e-6)
