"""A run's folder: what is done, what is written, and how its parts become one."""
