"""What computed a result: packages, Python, the first device."""

import importlib.metadata
import platform

import jax

_PACKAGES = ("specjax", "jax", "jaxlib", "flax", "numpy", "scipy", "optax", "pillow")


def versions() -> dict[str, str]:
    """The versions, by name; "not installed" for a package that runs from its sources."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    device = jax.local_devices()[0]
    return {**found, "device": f"{device.platform}: {device.device_kind}"}
