"""Processes of several devices, which the processor's cores pretend to be."""

import os


def environment(devices: int) -> dict[str, str]:
    """What a process needs in its environment; it compiles as this process does."""
    given = os.environ.get("XLA_FLAGS", "")
    count = f"--xla_force_host_platform_device_count={devices}"
    return {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": f"{given} {count}"}
