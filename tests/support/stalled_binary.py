"""Runs a binary that hangs when it reads a certain image of a VOC dataset.

    python -m tests.support.stalled_binary 2007_000001 instance --dataset=voc ...

So a test can kill the process at the same point each time.
"""

import runpy
import sys
import threading

from experiments.datasets import voc

_decode = voc.decode


def _decode_or_hang(source, **options):
    if source.stem == image:
        threading.Event().wait()
    return _decode(source, **options)


if __name__ == "__main__":
    _, image, binary, *flags = sys.argv
    voc.decode = _decode_or_hang
    sys.argv = [binary, *flags]
    runpy.run_module(f"experiments.{binary}", run_name="__main__")
