"""Draws the scenes of the built-in dataset and of the training of the built-in backbone."""
