"""What the figures show, as functions from features to numbers; `experiments.plotting` draws it."""
