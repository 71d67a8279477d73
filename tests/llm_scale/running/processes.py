"""What each of several processes does in test_distributed.py: one training step on its share of a batch.

Run by torchrun: `python -m torch.distributed.run --nproc-per-node 2 processes.py FOLDER KIND`.
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.nn.parallel import DistributedDataParallel

from llm_scale.models.loading import LoraSettings, load
from llm_scale.running.distributed import World, wrap

GROUP, PROMPTS, LENGTH = 3, 4, 6


def batch():
    """Four prompts of different lengths, three completions each, and a weight for every token."""
    generator = torch.Generator().manual_seed(5)
    prompts = [torch.randint(3, 90, (length,), generator=generator).tolist() for length in (4, 7, 2, 5)]
    ids = torch.randint(3, 90, (PROMPTS * GROUP, LENGTH), generator=generator)
    lengths = torch.randint(1, LENGTH + 1, (PROMPTS * GROUP, 1), generator=generator)
    mask = torch.arange(LENGTH) < lengths
    weights = torch.randn(ids.shape, generator=generator)
    return prompts, ids.masked_fill(~mask, 0), mask, weights


def one_step(world, kind, *, passes=1, dtype="float64", lora=False, autocast=False):
    """Gradient of a token-weighted loss with global counts, then weights and optimiser after one step of AdamW."""
    # float64 norms are computed in float32 by the model's own layers, so rounding is that of float32 at one place
    lm = load("tiny-test", dtype=dtype, lora=LoraSettings(rank=2) if lora else None)
    if world.rank:  # weights that are random in each process are made equal
        with torch.no_grad():
            for parameter in lm.parameters():
                parameter.mul_(1.5)
    policy = wrap(lm, world, kind="ddp" if kind == "torch_ddp" else kind)
    called = DistributedDataParallel(policy) if kind == "torch_ddp" else policy
    optimiser = torch.optim.AdamW(lm.parameters(), lr=1e-2)
    prompts, ids, mask, weights = batch()
    with policy.whole(), torch.no_grad():  # a loop samples before it trains
        lm.base(torch.tensor([prompts[0]]))
    own = world.split(range(PROMPTS))
    tokens = world.sum(int(mask[own[0] * GROUP : (own[-1] + 1) * GROUP].sum()))
    for part in torch.tensor(own).tensor_split(passes):
        rows = slice(int(part[0]) * GROUP, (int(part[-1]) + 1) * GROUP)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            now = called([prompts[p] for p in part], ids[rows], mask[rows], GROUP, 0.8)
        ((now.log_probs * weights[rows]).sum() / tokens).backward()
    if kind == "torch_ddp":  # which averages
        for parameter in lm.parameters():
            parameter.grad.mul_(world.size)
    else:
        world.add_gradients(lm)
    named = {name: p for name, p in policy.model.named_parameters() if p.requires_grad}
    whole = {name: p.grad.full_tensor() if hasattr(p.grad, "full_tensor") else p.grad for name, p in named.items()}
    gradient = {f"gradient/{name}": g.clone() for name, g in whole.items()}
    norm = torch.nn.utils.clip_grad_norm_(lm.parameters(), 1e-3)
    norm = norm.full_tensor() if hasattr(norm, "full_tensor") else norm
    optimiser.step()
    return lm, policy, optimiser, gradient | {"norm": norm.detach().clone().reshape(1)}


def report(policy, optimiser, found):
    weights, state = policy.state(optimiser)
    found |= {f"weight/{name}": weight for name, weight in weights.items()}
    for key, slots in state["state"].items():
        found |= {f"slot/{key}/{name}": torch.as_tensor(slot).reshape(-1) for name, slot in slots.items()}
    return {name: value.contiguous().clone() for name, value in found.items()}


def check_whole(lm, policy, world):
    """Sampling's view: all weights as plain tensors, the same on every process, and training goes on afterwards."""
    prompts, ids, mask, _ = batch()
    before = policy(prompts, ids, mask, GROUP).log_probs.detach()
    with policy.whole(), torch.no_grad():
        tokens = torch.tensor([prompts[0] + ids[0, :2].tolist()])
        logits = lm.base(tokens).logits[0, -3:-1]
        told = logits.log_softmax(-1)[[0, 1], ids[0, :2]]
        lm.base(tokens)  # a second call finds them too
        assert not hasattr(lm.base.get_decoder().layers[0].mlp.up_proj.weight, "placements")
    count = min(2, int(mask[0].sum()))
    torch.testing.assert_close(told[:count], before[0, :count])
    after = policy(prompts, ids, mask, GROUP).log_probs.detach()
    torch.testing.assert_close(after, before)
    world.barrier()


def check_state(policy, optimiser):
    """What was saved can be loaded: weights and slots are set back after they were spoiled."""
    weights, state = policy.state(optimiser)
    with torch.no_grad():
        for parameter in policy.parameters():
            if parameter.requires_grad:
                parameter.add_(1.0)
    for slots in optimiser.state.values():
        slots["exp_avg"].add_(1.0)
    policy.load_state(weights, optimiser, state)
    again, state_again = policy.state(optimiser)
    torch.testing.assert_close(again, weights, rtol=0, atol=0)
    for key, slots in state["state"].items():
        torch.testing.assert_close(state_again["state"][key], slots, rtol=0, atol=0)


def main(folder, *kinds):
    world = World.current()
    torch.set_num_threads(1)
    for kind in kinds:
        name, *extra = kind.split("+")
        lm, policy, optimiser, found = one_step(
            world,
            name,
            passes=2 if "parts" in extra else 1,
            lora="lora" in extra,
            autocast="bf16" in extra,
            dtype="float32" if "bf16" in extra else "float64",
        )
        found = report(policy, optimiser, found)
        if "bf16" not in extra:
            check_whole(lm, policy, world)
            check_state(policy, optimiser)
        if world.is_main:
            save_file(found, Path(folder) / f"{kind}.safetensors")
        world.barrier()
    assert world.gather(world.rank) == list(range(world.size))
    assert world.sum(world.rank + 0.5) == sum(range(world.size)) + 0.5 * world.size
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
