"""Rewards computed from experience or feedback: what should an agent be paid for when the game says nothing?"""
