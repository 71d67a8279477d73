"""Several processes, one training: whole groups stay together, and the summed gradient is the single process's.

    torchrun --nproc-per-node 2 -m llm_scale.grpo --parallel ddp
    accelerate launch --num-processes 2 -m llm_scale.grpo --parallel fsdp2
    torchrun --nnodes 4 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint HOST:29500 -m llm_scale.grpo ...

Both launchers only start processes and tell each its number; everything else happens here. Prompts are split between
processes, never the samples of one prompt. A loss is a sum over samples divided by counts of the GLOBAL batch, so
gradients are summed over processes, not averaged, and any split of the batch gives the same one.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

from llm_scale.training_pass.forward import TokenLogProbs, TrainingPass, causal_model

__all__ = ["Policy", "World", "wrap"]

Item = TypeVar("Item")
BUCKET_BYTES = 2**25  # of gradients sent at once


@dataclass(frozen=True)
class World:
    """The processes that share a training, as one of them sees it.

    Args:
        rank: Number of this process, from 0.
        size: How many there are.
        local_rank: Number of this process on its machine: which of its GPUs is its own.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @classmethod
    def single(cls) -> "World":
        """One process, whatever the launcher says."""
        return cls()

    @classmethod
    def current(cls) -> "World":
        """The processes that torchrun or accelerate started, or this one alone; connects them on the first call.

        NCCL where there are GPUs, gloo for what is on the CPU.
        """
        size = int(os.environ.get("WORLD_SIZE", 1))
        if size == 1:
            return cls.single()
        rank, local_rank = int(os.environ["RANK"]), int(os.environ.get("LOCAL_RANK", 0))
        if not dist.is_initialized():
            if torch.cuda.is_available():
                torch.cuda.set_device(local_rank)
            dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
        return cls(rank, size, local_rank)

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes files and shows progress."""
        return self.rank == 0

    def split(self, items: Sequence[Item]) -> list[Item]:
        """This process's share of a batch's prompts: consecutive ones, counts that differ by one at most.

        Raises:
            ValueError: If there are fewer than processes, so that some would have none.
        """
        if len(items) < self.size:
            raise ValueError(f"{len(items)} prompts for {self.size} processes, expected at least one for each")
        first, last = (len(items) * number // self.size for number in (self.rank, self.rank + 1))
        return list(items[first:last])

    def sum(self, value: float | Tensor) -> Any:
        """The sum over processes of a number (exact to float64) or of a tensor; the given tensor is not changed."""
        if self.size == 1:
            return value
        total = value.clone() if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64)
        dist.all_reduce(total)
        return total if isinstance(value, Tensor) else total.item()

    def gather(self, own: Any) -> list[Any]:
        """What every process passed, in the order of their numbers, on each of them; small things only.

        They are pickled on the way, between processes of one training that run the same program.
        """
        if self.size == 1:
            return [own]
        every = [None] * self.size
        dist.all_gather_object(every, own)
        return every

    def barrier(self) -> None:
        """Wait until every process is here."""
        if self.size > 1:
            dist.barrier()

    def add_gradients(self, model: Any) -> None:
        """Replace each gradient by its sum over processes; call it once, after the last backward pass of a step.

        Gradients of a sharded model are summed in its backward pass already, and are left as they are. A process that
        had nothing to do counts as zero.

        Args:
            model: Anything with `parameters()`.
        """
        if self.size == 1:
            return
        bucket, size = [], 0
        for parameter in model.parameters():
            if not parameter.requires_grad or isinstance(parameter, DTensor):
                continue
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            bucket.append(parameter.grad)
            size += parameter.grad.nbytes
            if size >= BUCKET_BYTES:
                _sum_together(bucket)
                bucket, size = [], 0
        _sum_together(bucket)


def _sum_together(tensors: list[Tensor]) -> None:
    if not tensors:
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    dist.all_reduce(flat)
    for tensor, total in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(total.view_as(tensor))


def wrap(language_model: Any, world: World, *, kind: str = "none") -> "Policy":
    """Prepare a model to be trained by the processes of a world; every one calls it, with the same weights or not.

    Args:
        language_model: A `LanguageModel`, or a causal language model of transformers. Make the optimiser afterwards:
            sharding replaces the parameters.
        world: The processes.
        kind: "none", "ddp" (each process holds all weights) or "fsdp2" (each holds its share of every weight, gradient
            and optimiser state). For a single process they are the same. With "fsdp2" every process must make the same
            number of forward and backward passes, for each of them waits for the others; with "ddp" it need not, as
            gradients are summed once, by `World.add_gradients`, and a process may have had nothing to do.

    Raises:
        ValueError: If there is no such kind, or "none" is asked for more than one process.
    """
    if kind not in ("none", "ddp", "fsdp2"):
        raise ValueError(f'kind is {kind!r}, expected "none", "ddp" or "fsdp2"')
    if kind == "none" and world.size > 1:
        raise ValueError(f'kind is "none" for {world.size} processes, which would train {world.size} models')
    policy = Policy(language_model)
    if world.size > 1:
        with torch.no_grad():
            for tensor in [*policy.parameters(), *policy.buffers()]:  # random weights of adapters, say
                dist.broadcast(tensor, src=0)
        if kind == "fsdp2":
            _shard(policy, world)
    return policy


def _shard(policy: "Policy", world: World) -> None:
    from torch.distributed.fsdp import fully_shard

    device = next(policy.parameters()).device.type
    mesh = dist.init_device_mesh(device, (world.size,))
    for layer in causal_model(policy.model).get_decoder().layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(policy, mesh=mesh, reshard_after_forward=True)  # parameters() are shares after any pass
    for module in policy.modules():
        if hasattr(module, "set_gradient_divide_factor"):
            module.set_gradient_divide_factor(1.0)  # gradients are summed: the loss has global counts below it
            module.set_force_sum_reduction_for_comms(True)
    with (
        torch.no_grad()
    ):  # the first module that runs counts as the outermost, even if sampling would run a layer first
        policy(
            [[0]],
            torch.zeros(1, 1, dtype=torch.long, device=device),
            torch.ones(1, 1, dtype=torch.bool, device=device),
            1,
        )


class Policy(TrainingPass):
    """A model that is being trained, held whole or in shares."""

    def __call__(self, *args: Any, **kwargs: Any) -> TokenLogProbs:
        """Log-probabilities of completions: `TrainingPass.forward`, with the hooks of sharding around it."""
        return super().__call__(*args, **kwargs)

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Within this context every process sees all weights, as plain tensors: to sample, or to save a folder."""
        sharded = [module for module in self.modules() if hasattr(module, "unshard")]
        for module in sharded:
            module.unshard()
            module.set_reshard_after_forward(False, recurse=False)
        try:
            yield
        finally:
            for module in sharded:
                module.set_reshard_after_forward(True, recurse=False)
                module.reshard()

    def state(self, optimiser: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Trained weights by name, and the optimiser's state, whole on every process.

        All processes call it; what comes back does not depend on how many there are, nor on the kind.
        """
        weights = {name: _full(weight) for name, weight in self.model.named_parameters() if weight.requires_grad}
        state = optimiser.state_dict()
        slots = {key: {name: _full(slot) for name, slot in slots.items()} for key, slots in state["state"].items()}
        return weights, {**state, "state": slots}

    @torch.no_grad()
    def load_state(
        self, weights: dict[str, Tensor], optimiser: torch.optim.Optimizer, optimiser_state: dict[str, Any]
    ) -> None:
        """Take over what `state` returned.

        Raises:
            ValueError: If the weights are not those that are trained here.
        """
        trained = {name: weight for name, weight in self.model.named_parameters() if weight.requires_grad}
        if trained.keys() != weights.keys():
            other = sorted(trained.keys() ^ weights.keys())
            raise ValueError(f"weights that are trained here and saved there differ: {', '.join(other[:3])}, ...")
        for name, weight in trained.items():
            weight.copy_(_like(weights[name], weight))
        order = [weight for group in optimiser.param_groups for weight in group["params"]]
        slots = {
            key: {name: _like(slot, order[int(key)]) for name, slot in slots.items()}
            for key, slots in optimiser_state["state"].items()
        }
        optimiser.load_state_dict({**optimiser_state, "state": slots})


def _full(value: Any) -> Any:
    if isinstance(value, DTensor):
        value = value.full_tensor()
    return value.detach().clone() if isinstance(value, Tensor) else value


def _like(value: Any, weight: Tensor) -> Any:
    """A whole tensor of a weight's shape, in shares where the weight is; anything else as it is."""
    if isinstance(weight, DTensor) and isinstance(value, Tensor) and value.shape == weight.shape:
        return distribute_tensor(value.to(weight.device), weight.device_mesh, weight.placements)
    return value.to(weight.device) if isinstance(value, Tensor) and value.shape == weight.shape else value
