"""How far to trust advice: rewards that are a base plus weighted components, weights to be learned."""

from dataclasses import dataclass

from jaxtyping import Float

from rewardlab.arrays import Array, array_namespace, as_float64
from rewardlab.checks import check_array, check_finite
from rewardlab.exact.mdp import FiniteMDP, Reward

__all__ = ["RewardBlend", "feature_blend", "per_state_blend", "scalar_blend"]


@dataclass(frozen=True, eq=False)
class RewardBlend:
    """A reward that is linear in its weights: base plus the sum of weight times component.

    The primary reward belongs into the base, with weight 1 that is not learned. Were its weight free as well, the
    whole blend could grow, and a larger reward at the same temperature is a lower temperature: the weights would run
    away without the advice being trusted any more or less.

    Attributes:
        base: What is not learned, `(S, A)`.
        components: What each weight multiplies, `(K, S, A)`.

    Raises:
        TypeError, ValueError: If the arrays are not of one library, finite and of these shapes.
    """

    base: Float[Array, "s a"]
    components: Float[Array, "k s a"]

    def __post_init__(self) -> None:
        base = as_float64(check_finite("base", check_array("base", self.base)))
        components = as_float64(check_finite("components", check_array("components", self.components, like=base)))
        if base.ndim != 2:
            raise ValueError(f"base has shape {tuple(base.shape)}, expected (S, A)")
        if components.ndim != 3 or tuple(components.shape[1:]) != tuple(base.shape) or not components.shape[0]:
            sizes = ", ".join(str(size) for size in base.shape)
            raise ValueError(f"components has shape {tuple(components.shape)}, expected (K, {sizes}) with K at least 1")
        object.__setattr__(self, "base", base)
        object.__setattr__(self, "components", components)

    @property
    def size(self) -> int:
        """Number of weights K."""
        return self.components.shape[0]

    def reward(self, weights: Float[Array, "*batch k"]) -> Float[Array, "*batch s a"]:
        """The blended reward at some weights, `(*batch, S, A)`.

        Raises:
            TypeError, ValueError: If the weights are not one finite number a component.
        """
        weights = self.checked_weights(weights)
        return self.base + array_namespace(self.base).tensordot(weights, self.components, axes=1)

    def checked_weights(self, weights: Float[Array, "*batch k"]) -> Float[Array, "*batch k"]:
        """The weights in float64, if they are one finite number a component."""
        weights = as_float64(check_finite("weights", check_array("weights", weights, like=self.base)))
        if tuple(weights.shape[-1:]) != (self.size,):
            raise ValueError(
                f"weights has shape {tuple(weights.shape)}, expected (*batch, {self.size}): one a component"
            )
        return weights

    def project(self, gradient: Float[Array, "*batch s a"]) -> Float[Array, "*batch k"]:
        """Derivative by each weight, `(*batch, K)`, from the derivative by each entry of the reward."""
        if tuple(gradient.shape[-2:]) != tuple(self.base.shape):
            sizes = ", ".join(str(size) for size in self.base.shape)
            raise ValueError(f"gradient has shape {tuple(gradient.shape)}, expected (*batch, {sizes})")
        return array_namespace(gradient).sum(self.components * gradient[..., None, :, :], axis=(-2, -1))


def scalar_blend(mdp: FiniteMDP, primary: Reward, *auxiliary: Reward) -> RewardBlend:
    """One weight for each piece of advice: primary + sum of weight times auxiliary.

    Args:
        mdp: World, one (without batch dimensions).
        primary: What is meant, `(S, A, S)` or `(S, A)`.
        auxiliary: One or more heuristic rewards, likewise.

    Returns:
        A blend of one weight for each auxiliary reward, in order.

    Raises:
        TypeError, ValueError: If there is no auxiliary reward, or one does not fit the world.
    """
    base, advice = _tables(mdp, primary, auxiliary)
    return RewardBlend(base, advice)


def per_state_blend(mdp: FiniteMDP, primary: Reward, *auxiliary: Reward) -> RewardBlend:
    """A weight for each piece of advice in each state that is not terminal; the weights of one piece lie together.

    Args, Raises: as `scalar_blend`.
    """
    xp = array_namespace(mdp.transition)
    alive = xp.eye(mdp.states, dtype=xp.float64)[~mdp.terminal]
    return feature_blend(mdp, primary, *auxiliary, features=xp.permute_dims(alive, (1, 0)))


def feature_blend(
    mdp: FiniteMDP, primary: Reward, *auxiliary: Reward, features: Float[Array, "s f"], bonus: bool = False
) -> RewardBlend:
    """Trust that is linear in features of the state: primary + sum of (features @ weights) times auxiliary.

    Args:
        mdp: World, one (without batch dimensions).
        primary: What is meant, `(S, A, S)` or `(S, A)`.
        auxiliary: One or more heuristic rewards, likewise.
        features: Features of each state, `(S, F)`.
        bonus: Learn a reward of the features alone as well, with the first F weights. Where episodes end, even a
            constant one is not neutral: it pays for every further step.

    Returns:
        A blend of F weights for the bonus, if any, and F for each auxiliary reward, in order.

    Raises:
        TypeError, ValueError: If there is nothing to learn, or something does not fit the world.

    Source: Gupta et al. 2023 (arXiv 2310.19007) blend bonus, primary and auxiliary reward with learned functions of
        the state; their grid and control experiments fix the primary reward's or learn all three.
    """
    base, advice = _tables(mdp, primary, auxiliary)
    xp = array_namespace(base)
    features = as_float64(check_finite("features", check_array("features", features, like=base)))
    if features.ndim != 2 or features.shape[0] != mdp.states or not features.shape[1]:
        raise ValueError(f"features has shape {tuple(features.shape)}, expected ({mdp.states}, F) with F at least 1")
    if bonus:
        alive = xp.astype(~mdp.terminal, xp.float64)
        advice = xp.concat([xp.broadcast_to(alive[:, None], base.shape)[None], advice])
    by_feature = xp.permute_dims(features, (1, 0))[None, :, :, None] * advice[:, None]
    return RewardBlend(base, xp.reshape(by_feature, (-1, mdp.states, mdp.actions)))


def _tables(mdp: FiniteMDP, primary: Reward, auxiliary: tuple[Reward, ...]) -> tuple[Array, Array]:
    if mdp.batch_shape:
        raise ValueError(f"mdp has batch shape {mdp.batch_shape}, expected one world")
    if not auxiliary:
        raise ValueError("no auxiliary reward came, expected at least one")
    xp = array_namespace(mdp.transition)
    for index, reward in enumerate(auxiliary):
        if isinstance(reward, list | tuple):
            raise TypeError(
                f"auxiliary {index} is a {type(reward).__name__}, expected an array; give several one by one"
            )
    base = mdp.state_action_reward(primary, "primary")
    advice = [mdp.state_action_reward(reward, f"auxiliary {index}") for index, reward in enumerate(auxiliary)]
    for name, table in [("primary", base), *((f"auxiliary {index}", table) for index, table in enumerate(advice))]:
        if table.ndim != 2:
            raise ValueError(f"{name} has batch shape {tuple(table.shape[:-2])}, expected one reward")
    return base, xp.stack(advice)
