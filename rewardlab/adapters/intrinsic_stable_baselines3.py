"""Intrinsic rewards for the on-policy algorithms of Stable-Baselines3: PPO, A2C, RecurrentPPO."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import numpy as np

try:
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.buffers import RolloutBuffer
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, VecNormalize, unwrap_vec_wrapper
except ModuleNotFoundError as error:
    if error.name != "stable_baselines3":
        raise
    raise ModuleNotFoundError(
        "intrinsic rewards for Stable-Baselines3 need Stable-Baselines3: pip install 'rewardlab[sb3]'", name=error.name
    ) from error

from rewardlab.adapters.intrinsic_buffers import IntrinsicPay, paying
from rewardlab.adapters.intrinsic_ledger import RewardLedger
from rewardlab.adapters.intrinsic_views import OfObservations, Views
from rewardlab.adapters.step_signals import RAW
from rewardlab.checks import check_scalar
from rewardlab.intrinsic.interface import IntrinsicReward

__all__ = ["IntrinsicLog", "VecIntrinsicReward", "with_intrinsic_rewards"]

_LONGEST_CONSOLE_KEY = 36  # the console cuts longer keys, and training dies when two are cut to the same
_METHODS = ("begin", "observe", "rewards", "update", "state_dict", "load_state_dict", "close")

Model = TypeVar("Model", bound=BaseAlgorithm)


class VecIntrinsicReward(VecEnvWrapper):
    """Shows the steps of a vector of environments to an intrinsic reward, and pays it when a rollout is complete.

    With r the reward that the environments give, the learner learns from

        extrinsic_coefficient * clip(extrinsic_scale * r) + coefficient * intrinsic reward,

    scale and clip coming before the coefficient. The first part is the reward that `step` returns. The second is
    added by the rollout buffer, evaluated with the newest model just before returns and advantages are computed, so
    that a label which arrives late still pays the steps it is for. Attach it with one line:

        model = with_intrinsic_rewards(PPO("MlpPolicy", VecIntrinsicReward(venv, intrinsic, coefficient=0.1)))

    Until somebody takes the intrinsic rewards, `step` refuses. A loop of your own says `venv.claim("my loop")` once and
    calls `venv.take()` after each rollout.

    Episodes. Where one ends the intrinsic reward sees its last state, not the first of the next, which then begins an
    episode. The algorithms have one value function, which is cut where an episode terminates: a bonus that should
    outlive the episode, as random network distillation has it, cannot be had that way.

    Order. `VecNormalize` with `norm_reward=True` belongs inside: outside it would divide the coefficient of the
    extrinsic reward away again, and is refused. With `norm_obs=True` it may be outside: the intrinsic reward sees the
    observations as they are. Potential-based shaping belongs outside where there is a clip, which would undo its
    telescoping: `VecPotentialShaping(VecIntrinsicReward(venv, ...), ...)`. `Monitor`, which `make_vec_env` puts around
    each environment, reports the environment's own return; give `learn` an `IntrinsicLog` for every part.

    Args:
        venv: The vector of environments. One with methods `starts()` and `arrivals()` is asked what the last reset and
            step led to.
        intrinsic: The intrinsic reward; swap it for another in this one place.
        coefficient: Multiplies the intrinsic reward; at least 0.
        extrinsic_coefficient: Multiplies the extrinsic reward after scale and clip; at least 0, and 0 where the agent
            should learn without it.
        extrinsic_scale: Multiplies the extrinsic reward first; more than 0.
        extrinsic_clip: Largest size of the scaled extrinsic reward; None does not clip.
        messages: Function of a batch of observations: (rows, 256) bytes of text. Left out: the entry "message" of dict
            observations.
        keys: Function of a batch of observations: one hashable state a row, for counts. Left out: all their bytes.
        encoding: Function of a batch of observations: the array that networks of the intrinsic reward see. Left out:
            the observations, where they are arrays.

    Attributes:
        intrinsic: The intrinsic reward.
        numbers: Of the last rollout: every part of the reward by step and by episode ("reward/...", "episode/..."),
            and what the intrinsic reward says of itself ("intrinsic/...").

    Raises:
        TypeError, ValueError: If an argument is not what is said above, another `VecIntrinsicReward` is inside, or the
            intrinsic reward is made for another number of environments. At a step: if a reward is not finite, nobody
            takes the intrinsic rewards, or the last observation of an episode is missing.

    Source:
        The form of the sum and its evaluation on the learner's side are those of ONI (arXiv:2410.23022).

    Example:
        >>> from rewardlab.intrinsic.visitation import LifelongCounts
        >>> from stable_baselines3 import PPO
        >>> from stable_baselines3.common.env_util import make_vec_env
        >>> counts = LifelongCounts(environments=2)
        >>> venv = VecIntrinsicReward(make_vec_env("CartPole-v1", n_envs=2, seed=0), counts, coefficient=0.1)
        >>> model = with_intrinsic_rewards(PPO("MlpPolicy", venv, n_steps=16, batch_size=32, device="cpu"))
        >>> _ = model.learn(32, callback=IntrinsicLog())
        >>> venv.numbers["reward/extrinsic"], round(venv.numbers["reward/intrinsic_paid"], 3)  # no state comes twice
        (1.0, 0.1)
    """

    def __init__(
        self,
        venv: VecEnv,
        intrinsic: IntrinsicReward,
        *,
        coefficient: float,
        extrinsic_coefficient: float = 1.0,
        extrinsic_scale: float = 1.0,
        extrinsic_clip: float | None = None,
        messages: OfObservations | None = None,
        keys: OfObservations | None = None,
        encoding: OfObservations | None = None,
    ) -> None:
        _check_vector(venv, intrinsic)
        self.coefficient = float(check_scalar("coefficient", coefficient, low=0))
        self.extrinsic_coefficient = float(check_scalar("extrinsic_coefficient", extrinsic_coefficient, low=0))
        self.extrinsic_scale = float(check_scalar("extrinsic_scale", extrinsic_scale, low=0, open_low=True))
        if extrinsic_clip is not None:
            check_scalar("extrinsic_clip", extrinsic_clip, low=0, open_low=True)
        self.extrinsic_clip = extrinsic_clip
        self.intrinsic = intrinsic
        self.numbers: dict[str, float] = {}
        self._views = Views(venv, messages, keys, encoding)
        self._ledger = RewardLedger(venv.num_envs)
        self._everywhere = np.arange(venv.num_envs)
        self._actions: Any = None
        self._taker: str | None = None
        super().__init__(venv)

    @property
    def pending(self) -> int:
        """Steps whose intrinsic rewards nobody has taken."""
        return self._ledger.pending

    def reset(self) -> Any:
        """Begin an episode in every environment."""
        observations = self.venv.reset()
        self.intrinsic.begin(self._views.begin(observations, self._everywhere))
        self._ledger.begin()
        return observations

    def step_async(self, actions: np.ndarray) -> None:
        """Tell the environments to start taking a step.

        Raises:
            RuntimeError: If nobody takes the intrinsic rewards.
        """
        if self._taker is None:
            raise RuntimeError(
                "nobody takes the intrinsic rewards of these steps, and the model would learn without them: write "
                "`model = with_intrinsic_rewards(model)` before `model.learn` (again after loading a model); "
                "environments for evaluation need no VecIntrinsicReward"
            )
        self._actions = actions
        self.venv.step_async(actions)

    def step_wait(self) -> tuple[Any, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Wait for the step; returns the extrinsic reward as used, the intrinsic one follows with the rollout."""
        observations, rewards, dones, infos = self.venv.step_wait()
        infos = [{RAW: own, **info} for own, info in zip(rewards.tolist(), infos, strict=True)]
        used = self._used(rewards)
        self.intrinsic.observe(self._views.arrive(self._actions, observations, dones, infos))
        self._ledger.add(np.array([info[RAW] for info in infos]), used, dones.copy())
        ended = np.flatnonzero(dones)
        if len(ended):
            self.intrinsic.begin(self._views.begin(observations, ended))
        return observations, used.astype(np.float32), dones, infos

    def claim(self, taker: str) -> None:
        """Say who will call `take` after each rollout.

        Raises:
            ValueError: If somebody else does: every reward is paid once.
        """
        if self._taker is not None:
            raise ValueError(
                f"{self._taker} takes these intrinsic rewards already, and each is paid once; if that one is done, "
                f"call `release()` of the VecIntrinsicReward first"
            )
        self._taker = taker

    def release(self) -> None:
        """Let somebody else claim the intrinsic rewards; steps that nobody took are forgotten."""
        if self.pending:
            self.forget()
        self._taker = None

    def take(self) -> np.ndarray:
        """The coefficient times the intrinsic rewards (steps, environments) of the pending steps; then learn from them.

        Raises:
            ValueError: If the intrinsic reward returns another shape, or a number that is not finite.
        """
        rewards = self._evaluated()
        self._close(rewards)
        return self.coefficient * rewards

    def forget(self) -> None:
        """Let go of the pending steps unpaid; the intrinsic reward learns from them all the same."""
        self._close(np.zeros_like(self._evaluated()))

    def state_dict(self) -> dict[str, Any]:
        """What must be kept to go on, of plain values, arrays and tensors.

        Make it right after a rollout, where nothing is pending: only then does what goes on from it learn the same.
        """
        return {
            "environments": self.num_envs,
            "intrinsic": self.intrinsic.state_dict(),
            "ledger": self._ledger.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there; reset next. Steps that were pending when the state was made are never paid.

        Raises:
            ValueError: If the state is of another number of environments.
        """
        if state["environments"] != self.num_envs:
            raise ValueError(
                f"the state is of {state['environments']} environments, and this vector has {self.num_envs}"
            )
        self.intrinsic.load_state_dict(state["intrinsic"])
        if len(self.intrinsic.rewards()):
            self.intrinsic.update()
        self._ledger.load_state_dict(state["ledger"])

    def close(self) -> None:
        """Close the intrinsic reward and the environments."""
        self.intrinsic.close()
        self.venv.close()

    def _used(self, rewards: np.ndarray) -> np.ndarray:
        scaled = self.extrinsic_scale * rewards.astype(np.float64)
        if not np.isfinite(scaled).all():
            place = int(np.flatnonzero(~np.isfinite(scaled))[0])
            raise ValueError(f"the reward of environment {place} is {rewards[place]}, expected a finite number")
        if self.extrinsic_clip is not None:
            scaled = scaled.clip(-self.extrinsic_clip, self.extrinsic_clip)
        return self.extrinsic_coefficient * scaled

    def _evaluated(self) -> np.ndarray:
        rewards = np.asarray(self.intrinsic.rewards(), dtype=np.float64)
        expected = (self.pending, self.num_envs)
        if rewards.shape != expected:
            raise ValueError(
                f"{type(self.intrinsic).__name__}.rewards() returned shape {rewards.shape}, expected {expected}: one "
                f"reward for each step observed since the last update"
            )
        if not np.isfinite(rewards).all():
            step, environment = np.argwhere(~np.isfinite(rewards))[0].tolist()
            raise ValueError(
                f"{type(self.intrinsic).__name__}.rewards()[{step}, {environment}] is {rewards[step, environment]}, "
                f"expected a finite number"
            )
        return rewards

    def _close(self, rewards: np.ndarray) -> None:
        self._ledger.close(rewards, self.coefficient)
        learned = self.intrinsic.update()
        self.numbers = self._ledger.numbers | {f"intrinsic/{key}": float(value) for key, value in learned.items()}


def with_intrinsic_rewards(model: Model) -> Model:
    """Let a model learn from the intrinsic rewards of the `VecIntrinsicReward` around its environments.

    One line for PPO, A2C, RecurrentPPO and every other algorithm that learns from a rollout buffer. Call it again on a
    model that was loaded: what a model saves does not know the environments.

    Args:
        model: The algorithm, with its environments. Changed in place.

    Returns:
        The same model.

    Raises:
        TypeError: If it is no algorithm of Stable-Baselines3.
        ValueError: If it does not learn from a rollout buffer, there is no `VecIntrinsicReward` around its
            environments, `VecNormalize` outside it changes rewards, or somebody takes the rewards already.
    """
    if not isinstance(model, BaseAlgorithm):
        raise TypeError(f"model: expected an algorithm of Stable-Baselines3, got {type(model).__name__}")
    buffer = getattr(model, "rollout_buffer", None)
    if not isinstance(buffer, RolloutBuffer):
        raise ValueError(
            f"{type(model).__name__} has no rollout buffer, where intrinsic rewards are added: a replay buffer keeps "
            f"the reward of the moment of acting, which changes before it is replayed; use PPO, A2C or RecurrentPPO"
        )
    wrapper = _wrapper_of(model)
    payer = paying(buffer, wrapper)
    wrapper.claim(f"the rollout buffer of {type(model).__name__}")
    model.rollout_buffer = payer
    return model


class IntrinsicLog(BaseCallback):
    """Logs every part of the reward after each rollout, and what the intrinsic reward says of itself.

    For `model.learn(..., callback=IntrinsicLog())`. Means per step under "reward/" and mean sums of the episodes that
    ended under "episode/": extrinsic, extrinsic_used, intrinsic, intrinsic_paid, total. Keys too long for the console's
    table go to TensorBoard and the other files only.

    Raises:
        ValueError: When training starts and the model does not learn from a `VecIntrinsicReward`.
    """

    def _on_training_start(self) -> None:
        self._wrapper = _wrapper_of(self.model)
        buffer = getattr(self.model, "rollout_buffer", None)
        if not isinstance(buffer, IntrinsicPay) or buffer.purse is not self._wrapper:
            raise ValueError(
                "this model does not learn from the intrinsic rewards around its environments: write "
                "`model = with_intrinsic_rewards(model)` before `model.learn`"
            )

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        for key, value in self._wrapper.numbers.items():
            hidden = ("stdout", "log") if len(key) > _LONGEST_CONSOLE_KEY else None
            record = self.logger.record if key.startswith("intrinsic/") else self.logger.record_mean
            record(key, value, exclude=hidden)


def _wrapper_of(model: BaseAlgorithm) -> VecIntrinsicReward:
    venv = model.get_env()
    for wrapper in _wrappers(venv):
        if isinstance(wrapper, VecIntrinsicReward):
            return wrapper
        if isinstance(wrapper, VecNormalize) and wrapper.norm_reward:
            raise ValueError(
                "VecNormalize(norm_reward=True) is outside VecIntrinsicReward and would divide extrinsic_coefficient "
                "away; wrap the other way round, VecIntrinsicReward(VecNormalize(venv), ...), or set norm_reward=False"
            )
    raise ValueError(
        "there is no VecIntrinsicReward around the environments of this model: "
        f"{type(model).__name__}(policy, VecIntrinsicReward(venv, intrinsic, coefficient=...))"
    )


def _wrappers(venv: VecEnv | None) -> Iterator[VecEnv]:
    """From the outside in."""
    while isinstance(venv, VecEnvWrapper):
        yield venv
        venv = venv.venv


def _check_vector(venv: Any, intrinsic: Any) -> None:
    if not isinstance(venv, VecEnv):
        raise TypeError(f"venv: expected a vector of environments, as make_vec_env gives, got {type(venv).__name__}")
    if unwrap_vec_wrapper(venv, VecIntrinsicReward) is not None:
        raise ValueError(
            "another VecIntrinsicReward is inside, and its rewards would go to nobody; add the intrinsic rewards up in "
            "one object with the methods of IntrinsicReward"
        )
    missing = [name for name in _METHODS if not callable(getattr(intrinsic, name, None))]
    if missing:
        raise TypeError(
            f"intrinsic: expected an IntrinsicReward, got {type(intrinsic).__name__} without {', '.join(missing)}"
        )
    made_for = getattr(intrinsic, "environments", None)
    if isinstance(made_for, int | np.integer) and made_for != venv.num_envs:
        raise ValueError(f"the intrinsic reward is for {made_for} environments, and the vector has {venv.num_envs}")
