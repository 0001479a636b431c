"""Short programs around the public API, run as tests."""
