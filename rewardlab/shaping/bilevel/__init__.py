"""How far to trust advice, solved exactly in a finite world; all of it is exported by `rewardlab.shaping`.

hypergradient: the agent at its optimum, in closed form. blends, blend_optimiser: weights, and the ascent on them.
policy_point, policy_parameters: any policy, and the exact derivatives of its return. implicit_gradient, unrolled,
inner_loop: training that is at rest by every kind of curvature, training that is not, and training itself.
"""
