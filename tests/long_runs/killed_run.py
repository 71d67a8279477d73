"""Processes that are killed with SIGKILL, run by the tests: in the middle of training, and all over `save_checkpoint`.

python -m tests.long_runs.killed_run train FOLDER STEP    dies in step STEP, after some of its work
python -m tests.long_runs.killed_run write FOLDER         prints what each of many killed writers left
"""

import contextlib
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

import numpy as np
import torch

from long_runs.checkpoints import load_checkpoint, save_checkpoint
from long_runs.run_log import RunLog

SETTINGS = {"width": 4, "learning_rate": 0.05, "optimiser": {"name": "adamw", "betas": (0.9, 0.95)}}


def train(folder, steps, *, deadly_step=None, settings=SETTINGS):
    """A small training with everything that a checkpoint must bring back; goes on from the newest one."""
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Dropout(0.3), torch.nn.Linear(4, 1))
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            parameter.copy_(torch.linspace(-1, 1, parameter.numel()).reshape(parameter.shape) / (number + 1))
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.05, betas=(0.9, 0.95))
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    torch.manual_seed(3)
    generators = {"noise": torch.Generator().manual_seed(1), "data": np.random.default_rng(2)}
    generators["dropout"] = torch.default_generator
    best = float("inf")
    checkpoint = load_checkpoint(Path(folder) / "checkpoints", settings=settings)
    if checkpoint is not None:
        model.load_state_dict(checkpoint.model)
        optimiser.load_state_dict(checkpoint.optimiser)
        scheduler.load_state_dict(checkpoint.extra["scheduler"])
        best = checkpoint.extra["best"]
        checkpoint.restore_generators(generators)
    done = checkpoint.step if checkpoint else 0
    with RunLog(folder, resume_from_step=done if checkpoint else -1, tensorboard=False) as log:
        for step in range(done + 1, steps + 1):
            inputs = torch.from_numpy(generators["data"].normal(size=(8, 3))).float()
            noise = torch.randn(8, 1, generator=generators["noise"])
            loss = (model(inputs) - inputs.sum(1, keepdim=True) + 0.1 * noise).square().mean()
            optimiser.zero_grad()
            loss.backward()
            if step == deadly_step:
                log.write(step, {"loss": loss.item(), "half": 1.0})
                os.kill(os.getpid(), signal.SIGKILL)
            optimiser.step()
            scheduler.step()
            best = min(best, loss.item())
            log.write(step, {"loss": loss.item(), "best": best} | ({"held_out": loss.item()} if step % 4 == 0 else {}))
            if step % 5 == 0:
                extra = {"best": best, "scheduler": scheduler.state_dict()}
                save_checkpoint(
                    Path(folder) / "checkpoints",
                    step,
                    model=model.state_dict(),
                    optimiser=optimiser.state_dict(),
                    generators=generators,
                    settings=settings,
                    extra=extra,
                )
    return model.state_dict()


def write(folder, step, **settings):
    """A checkpoint whose every tensor says its step."""
    tensors = {"weight": torch.full((200, 500), float(step)), "bias": torch.full((3,), float(step))}
    optimiser = {"state": {0: {"step": torch.tensor(float(step)), "mean": torch.full((100_000,), float(step))}}}
    generator = torch.Generator().manual_seed(step)
    save_checkpoint(
        folder, step, model=tensors, optimiser=optimiser, generators={"a": generator}, settings={"a": 1}, **settings
    )


def left_by(writer, *, event=None, delay=None):
    """Fork a writer, kill it at its `event`-th call to the operating system or after `delay` seconds; how it ended."""
    child = os.fork()
    if child == 0:
        if event is not None:
            calls = 0

            def count(name, arguments):
                nonlocal calls
                if name.startswith(("os.", "open", "shutil.", "pathlib.")):
                    calls += 1
                    if calls == event:
                        os.kill(os.getpid(), signal.SIGKILL)

            sys.addaudithook(count)
        status = 1
        try:
            writer()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    if delay is not None:
        time.sleep(delay)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    assert status == 0 or (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL), f"status {status}"
    return status


def whole(folder):
    """Step of the newest checkpoint, after a look at everything in it."""
    checkpoint = load_checkpoint(folder, settings={"a": 1})
    step = float(checkpoint.step)
    parts = [*checkpoint.model.values(), *checkpoint.optimiser["state"][0].values()]
    assert all(bool((part == step).all()) for part in parts), f"a mixture at step {step}"
    assert torch.equal(checkpoint.generators["a"], torch.Generator().manual_seed(checkpoint.step).get_state())
    return checkpoint.step


def killed_writers(folder):
    """Kill a writer at every one of its calls, then at random moments; report what was left each time."""
    chance = random.Random(0)
    write(folder, 1)
    write(folder, 2)
    for same in (False, True):  # the next step; then the step that is there already
        event, died = 0, True
        while died:
            event += 1
            before = whole(folder)
            step = before if same else before + 1
            died = left_by(lambda step=step: write(folder, step), event=event) != 0
            after = whole(folder)
            print("call", event, before, step, after, int(died))
            assert after in (before, step)
            assert died or after == step
    for _ in range(25):
        before = whole(folder)
        died = left_by(lambda step=before + 1: write(folder, step), delay=chance.random() * 0.06) != 0
        after = whole(folder)
        print("time", before, before + 1, after, int(died))
        assert after in (before, before + 1)
        assert died or after == before + 1
    write(folder, after + 1)
    print("left", *sorted(path.name for path in Path(folder).iterdir()))


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1] == "train":
        train(sys.argv[2], 20, deadly_step=int(sys.argv[3]))
    else:
        killed_writers(sys.argv[2])
