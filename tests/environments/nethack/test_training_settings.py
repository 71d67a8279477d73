"""Settings of a training in NetHack: what makes no sense is refused, with a message that says why."""

import subprocess
import sys

import pytest

from environments.nethack.training.settings import (
    AnnotationSettings,
    FeatureSettings,
    GameSettings,
    IntrinsicSettings,
    PolicySettings,
    ShapingSettings,
    TrainingSettings,
)

REFUSED = [
    (lambda: GameSettings(episode_steps=0), "episode_steps"),
    (lambda: GameSettings(penalty=0.01), "penalty"),
    (lambda: FeatureSettings(crop=8), "crop is 8, expected an odd number"),
    (lambda: PolicySettings("a2c"), "algorithm"),
    (lambda: PolicySettings(batch_size=300), "batch_size 300 does not divide the 1024 steps of a rollout"),
    (lambda: PolicySettings(discount=1.5), "discount"),
    (lambda: ShapingSettings("gold"), "potential"),
    (lambda: ShapingSettings("depth", 0.0), "weight 0 shapes nothing"),
    (lambda: IntrinsicSettings("praise"), "kind"),
    (lambda: IntrinsicSettings("counts", coefficient=0.0), "coefficient 0 never pays the intrinsic reward 'counts'"),
    (lambda: IntrinsicSettings("retrieval", exponent=-1.0), "exponent"),
    (lambda: IntrinsicSettings("motif"), "model_file is None with the kind 'motif'"),
    (lambda: IntrinsicSettings("retrieval", model_file="a"), "motif needs one, no other"),
    (lambda: IntrinsicSettings("cosine", goal=" "), "goal is empty"),
    (lambda: IntrinsicSettings("retrieval", pairs="all"), "pairs and normalisation are of ranking, not of 'retrieval'"),
    (lambda: IntrinsicSettings("ranking", pairs="some"), "pairs"),
    (lambda: IntrinsicSettings("ranking", normalisation="raw"), "normalisation"),
    (lambda: TrainingSettings(extrinsic_clip=0.0), "extrinsic_clip"),
    (lambda: TrainingSettings(extrinsic_scale=0.0), "extrinsic_scale"),
    (
        lambda: TrainingSettings(extrinsic_clip=10.0, shaping=ShapingSettings("depth")),
        "extrinsic_clip would cut the shaping too",
    ),
    (lambda: AnnotationSettings("human"), "annotator is 'human', expected one of oracle, noisy, endpoint or module"),
    (lambda: AnnotationSettings(accuracy=0.9), "accuracy 0.9 belongs to the annotator 'noisy', not to 'oracle'"),
    (lambda: AnnotationSettings("noisy", accuracy=1.1), "accuracy"),
    (lambda: AnnotationSettings("endpoint"), "must not hold up the game"),
    (lambda: AnnotationSettings(where="process", delay=2), "labels_per_tick and delay are of annotation in_process"),
    (lambda: AnnotationSettings(labels_per_tick=0), "labels_per_tick"),
    (lambda: TrainingSettings(steps=0), "steps"),
    (lambda: TrainingSettings(extrinsic_coefficient=0.0), "nothing is paid"),
    (lambda: TrainingSettings(game=GameSettings("reward_free")), "nothing is paid"),
    (
        lambda: TrainingSettings(
            shaping=ShapingSettings("depth"), intrinsic=IntrinsicSettings("counts"), extrinsic_coefficient=0.0
        ),
        "the potential 'depth' is paid with extrinsic_coefficient, which is 0",
    ),
    (
        lambda: TrainingSettings(intrinsic=IntrinsicSettings("counts"), annotation=AnnotationSettings(delay=1)),
        "annotation is set, but the intrinsic reward 'counts' asks nobody; retrieval, classification, ranking do",
    ),
]


@pytest.mark.parametrize(("make", "says"), REFUSED, ids=[says[:40] for _, says in REFUSED])
def test_what_makes_no_sense_is_refused(make, says):
    with pytest.raises((ValueError, TypeError), match=says):
        make()


def test_what_makes_sense_is_not():
    TrainingSettings(game=GameSettings("reward_free"), shaping=ShapingSettings("exploration", 0.1))
    TrainingSettings(game=GameSettings("reward_free"), intrinsic=IntrinsicSettings("retrieval"))
    TrainingSettings(extrinsic_coefficient=0.0, intrinsic=IntrinsicSettings("rnd"))
    settings = TrainingSettings(
        intrinsic=IntrinsicSettings("ranking"), annotation=AnnotationSettings("noisy", accuracy=0.9, delay=1)
    )
    assert settings.annotated
    assert not TrainingSettings(intrinsic=IntrinsicSettings("cosine")).annotated
    assert PolicySettings().rollout == 1024


def test_the_command_explains_itself():
    ran = subprocess.run(
        [sys.executable, "-m", "environments.nethack.train", "--help"], capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0
    for option in ("--intrinsic.kind", "--annotation.annotator", "--shaping.potential", "--policy.algorithm"):
        assert option in ran.stdout


def test_the_command_says_what_is_wrong(tmp_path):
    ran = subprocess.run(
        [sys.executable, "-m", "environments.nethack.train", "--policy.batch-size", "300"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
    )
    assert ran.returncode != 0
    assert "does not divide" in ran.stdout + ran.stderr


def test_the_command_says_what_contradicts_what(tmp_path):
    ran = subprocess.run(
        [sys.executable, "-m", "environments.nethack.train", "--annotation.where", "process"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
    )
    assert ran.returncode == 2 and "Traceback" not in ran.stderr
    assert ran.stderr.startswith("error: annotation is set, but the intrinsic reward 'none' asks nobody")
