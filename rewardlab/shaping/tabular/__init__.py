"""Tabular learners under guidance, many runs at once; exported by `rewardlab.shaping`.

q_learning: with a potential as shaping or as first values. advised_sarsa: with advice in every form. barfi: with a
learned blend, on episodes and gradients of its own modules.
"""
