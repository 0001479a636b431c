"""Plots of results: one module for each figure, all in the same style (`style`)."""
