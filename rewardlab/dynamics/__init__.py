"""Which predictions of a learned dynamics model should a planner believe?"""
