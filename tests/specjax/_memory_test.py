"""What happens where memory runs out."""

import jax
import pytest

from specjax import SpecjaxError
from specjax._memory import in_smaller_parts, is_out_of_memory

# What XLA says on a device, and on the host.
RAN_OUT = (
    jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Failed to allocate request for 2.0GiB"),
    jax.errors.JaxRuntimeError("INTERNAL: Error dispatching computation: Out of memory allocating"),
    MemoryError("Unable to allocate 3.00 GiB for an array"),
)


def test_errors_of_memory():
    assert all(map(is_out_of_memory, RAN_OUT))
    for error in (jax.errors.JaxRuntimeError("INTERNAL: a bug"), ValueError("out of memory")):
        assert not is_out_of_memory(error)


@pytest.mark.parametrize("error", RAN_OUT)
def test_parts_that_fit(error):
    """Number 5 fits nowhere, and of the others two together."""
    tried = []

    def compute(part):
        tried.append(list(part))
        if len(part) > 2 or 5 in part:
            raise error
        return sum(part)

    *before, failed, last = in_smaller_parts([1, 2, 3, 4, 5, 6], compute)
    assert before == [([1], 1), ([2, 3], 5), ([4], 4)] and last == ([6], 6)
    assert failed[0] == [5] and isinstance(failed[1], SpecjaxError)
    assert "does not fit into memory" in str(failed[1]) and failed[1].parameter == "image_size"
    assert tried[0] == [1, 2, 3, 4, 5, 6]


def test_other_errors_are_raised():
    def compute(part):
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        next(in_smaller_parts([1, 2], compute))
