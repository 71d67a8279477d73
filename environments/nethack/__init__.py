"""NetHack and MiniHack, made well-behaved: tasks, observations, potentials, vectors of games, training."""
