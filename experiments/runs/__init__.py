"""A run's folder: what is done, what is written, and how parts are merged."""
