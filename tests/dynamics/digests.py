"""Numbers of every fit, as `python -m tests.dynamics.digests` prints them: name -> hash of all weights."""

import hashlib
import json

import torch

from rewardlab import dynamics as dy
from tests.dynamics.linear_tables import linear_table

SETTINGS = dy.EnsembleSettings(members=3, elites=2, hidden=(8, 8), batch_size=16, max_epochs=3)
LADDER = dy.NoiseLadderSettings(iterations=6, steps=2, snapshots=3, hidden=(8,), batch_size=16)
GAME = dy.AdversarialSettings(
    iterations=3, snapshots=3, discriminator_steps=2, batch_size=16, behaviour=dy.BehaviourSettings(steps=5)
)


def digest(state):
    """Of tensors by name, whatever their order."""
    found = hashlib.sha256()
    for name in sorted(state):
        found.update(name.encode() + state[name].contiguous().numpy().tobytes())
    return found.hexdigest()


def digests(seed=0):
    table = linear_table(60)
    ensemble, report = dy.fit_ensemble(table, SETTINGS, seed=seed)
    ensemble, _ = dy.calibrate(ensemble, table, report.holdout_rows)
    reward = dy.fit_noise_ladder(table, LADDER, seed=seed)
    game = dy.AdversarialFit(table, GAME, seed=seed)
    while game.iteration < GAME.iterations:
        game.step()
    model = dy.FilteredModel(
        dy.EnsembleCandidates(ensemble), reward, termination=lambda o, a, n: n[:, 0] > 2, threshold=0.3
    )
    rolled = dy.rollout(
        model,
        lambda seen: seen[:, :1].clamp(-1, 1),
        torch.as_tensor(table.observations),
        horizon=5,
        generator=torch.Generator().manual_seed(seed),
        truncation="bootstrap",
    )
    return {
        "ensemble": digest(ensemble.state_dict()),
        "noise ladder": digest(reward.state_dict()),
        "behaviour": digest(dy.fit_behaviour_cloning(table, GAME.behaviour, seed=seed).state_dict()),
        "adversarial": digest({**game.discriminator.state_dict(), **game.model.state_dict()}),
        "rollout": digest(
            {"rewards": rolled.rewards, "next_observations": rolled.next_observations, "starts": rolled.starts}
        ),
    }


if __name__ == "__main__":
    print(json.dumps(digests()))
