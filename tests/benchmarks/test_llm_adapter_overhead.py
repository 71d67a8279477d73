"""What the adapters for language models add to calling the signal functions, in microseconds a sample.

Three cheap signals on 256 completions, best of several passes of one thread (run with OMP_NUM_THREADS=1 and without the
run-time checks of shapes, as `make bench` does). A sample that takes a model a tenth of a second to write is the
measure: even verl's way, a pipeline for every single sample, must stay below a hundredth of that.
"""

import json
import time
import urllib.request

import numpy as np
import pytest
import torch

from rewardlab.adapters.openrlhf import RewardServer, reward_function
from rewardlab.adapters.samples import SampleReward, score_samples
from rewardlab.adapters.verl import advantage_estimator, compute_score_function
from rewardlab.transforms import Centre, Conjunction, Fixed, LogSigmoid, NormaliseThenSum, Pipeline, chain

SAMPLES, TOKENS, GROUP = 256, 512, 8
LIMIT = 1000.0  # microseconds a sample


def right(prompt, completion, **columns):
    return 1.0 if "42" in completion else 0.0


def brief(prompt, completion, **columns):
    return -len(completion) / 100


def polite(prompt, completion, **columns):
    return None if completion.isdigit() else float(completion.count("please"))


SIGNALS = {"right": right, "brief": brief, "polite": polite}
TEXTS = [f"{row} please" if row % 3 else str(row) for row in range(SAMPLES)]
PIPELINE = Pipeline({name: chain(Centre(Fixed(0.0)), LogSigmoid()) for name in SIGNALS}, Conjunction())


def microseconds(function, passes=7):
    """Best time of a pass over all samples, a sample."""
    times = []
    for _ in range(passes):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return 1e6 * min(times) / SAMPLES


def bare():
    return [[signal("", text, label="42") for signal in SIGNALS.values()] for text in TEXTS]


def core():
    return score_samples(SIGNALS, [{"prompt": "", "completion": text, "label": "42"} for text in TEXTS])


def core_with_pipeline():
    reward = SampleReward(SIGNALS, pipeline=PIPELINE)
    return reward([{"prompt": "", "completion": text, "label": "42"} for text in TEXTS])


def verl_single_samples(compute_score):
    return lambda: [compute_score("source", text, "42", {}) for text in TEXTS]


def openrlhf_single_samples(reward):
    return lambda: [reward([text], [""], ["42"]) for text in TEXTS]


def openrlhf_batch(reward):
    return lambda: reward(TEXTS, [""] * SAMPLES, ["42"] * SAMPLES)


def verl_estimator():
    pipeline = Pipeline({name: chain() for name in SIGNALS}, advantage=NormaliseThenSum())
    estimator = advantage_estimator(pipeline)
    batch, index = core(), np.repeat(np.arange(SAMPLES // GROUP), GROUP).astype(str).astype(object)
    rewards, mask = torch.zeros(SAMPLES, TOKENS), torch.ones(SAMPLES, TOKENS, dtype=torch.long)
    return lambda: estimator(rewards, mask, index, {}, non_tensor_batch=batch)


IN_PROCESS = {
    "core": core,
    "core, pipeline": core_with_pipeline,
    "verl reward": verl_single_samples(compute_score_function(SIGNALS, "right")),
    "verl reward, pipeline": verl_single_samples(compute_score_function(SIGNALS, pipeline=PIPELINE)),
    "verl estimator": verl_estimator(),
    "OpenRLHF": openrlhf_single_samples(reward_function(SIGNALS, "right")),
    "OpenRLHF, pipeline": openrlhf_single_samples(reward_function(SIGNALS, pipeline=PIPELINE)),
    "OpenRLHF, pipeline, batch": openrlhf_batch(reward_function(SIGNALS, pipeline=PIPELINE)),
}


@pytest.mark.parametrize("name", IN_PROCESS)
def test_overhead_in_the_process(name, record_property):
    direct, through = microseconds(bare), microseconds(IN_PROCESS[name])
    record_property("microseconds", through)
    print(f"\n{name}: {through:.1f} microseconds a sample; the signals alone {direct:.1f}")
    assert through < LIMIT


@pytest.mark.parametrize("batch", [1, SAMPLES])
def test_overhead_of_the_service(batch, record_property):
    labels = ["42"] * SAMPLES

    def ask():
        for start in range(0, SAMPLES, batch):
            stop = start + batch
            request = {"query": TEXTS[start:stop], "prompts": [""] * batch, "labels": labels[start:stop]}
            sent = urllib.request.Request(
                server.url, json.dumps(request).encode(), {"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(sent, timeout=30) as answer:
                json.load(answer)

    with RewardServer(reward_function(SIGNALS, "right"), port=0) as server:
        through = microseconds(ask, passes=3)
    record_property("microseconds", through)
    print(f"\nservice, {batch} a request: {through:.0f} microseconds a sample")
    assert through < 20 * LIMIT  # a connection and a thread of its own for every sample
