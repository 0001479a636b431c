"""Draws the scenes of the built-in dataset, and those that train the built-in backbone."""
