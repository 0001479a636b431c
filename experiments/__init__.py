"""Binaries that stream datasets through specjax and report scores."""

import os

# On a CPU, `jnp.linalg.eigh` runs in OpenBLAS, whose threads compete with XLA's for the cores:
# matrices of this size are many times slower with two threads than with one. OpenBLAS reads the
# variable once, when it is loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
