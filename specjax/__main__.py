"""`python -m specjax`: see `specjax.cli`."""

from specjax.cli import run

if __name__ == "__main__":
    run()
