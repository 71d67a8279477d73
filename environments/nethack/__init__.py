"""NetHack and MiniHack, made to keep gymnasium's promises.

games: `make_game`, one environment; tasks: what each pays; minihack: its levels; known_bugs: what is mended, and where.
encoding, vector: `NetHackVecEnv`, several games encoded at once. potentials: for shaping. message_stream: what the game
says to a random player. training, train: `python -m environments.nethack.train`. experiments, results: recorded runs.
"""
