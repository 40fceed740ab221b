"""What the numbers were measured on; no names of hosts or folders."""
import os
import platform
from importlib.metadata import PackageNotFoundError, version

import torch


def machine() -> dict:
    return {"cpu": _cpu(), "cores": os.cpu_count(), "system": platform.system(), "python": platform.python_version(),
            "blas": _blas()} | {name: _version(name) for name in ("torch", "jax", "numba", "numpy")}


def _cpu() -> str:
    import cpuinfo  # pytest-benchmark brings it

    return cpuinfo.get_cpu_info().get("brand_raw") or platform.processor() or platform.machine()


def _blas() -> str:
    words = torch.__config__.show().replace(",", "\n").splitlines()
    return next((word.split("=")[1] for word in words if word.strip().startswith("- Build settings: BLAS_INFO=")), "unknown")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
