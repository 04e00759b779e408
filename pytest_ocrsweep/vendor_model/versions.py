"""Which releases of torch and transformers this package works with; only `loaded` loads them."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from packaging.specifiers import SpecifierSet
from packaging.version import Version

SUPPORTED = {  # as in pyproject.toml, extra [vendor]
    "torch": ">=2.11",
    # 5.20 is the first with unlimited_ocr, 5.23 the first that was checked kernel by kernel. 5.24 keeps the routers in
    # float32 (other bytes) and renames past_key_values to cache.
    "transformers": ">=5.23,<5.24",
}


def unsupported() -> str | None:
    """Which installed release is not supported and what to install instead, in one line; None if all are supported.

    A package that is not installed, or was put on the path without metadata, has no version to refuse.
    """
    for package, supported in SUPPORTED.items():
        try:
            installed = version(package)
        except PackageNotFoundError:
            continue
        # A build of a pre-release, such as NVIDIA's 2.11.0a0, counts as its release: it has most of its changes.
        if Version(installed).base_version not in SpecifierSet(supported):
            return (
                f"{package} {installed} is installed, supported is {package}{supported} "
                "(pip install 'pytest-ocrsweep[vendor]')"
            )
    return None


def loaded() -> tuple[str, str]:
    """The versions of torch and of transformers as they say themselves, torch's with its build. Loads both."""
    import torch
    import transformers

    return str(torch.__version__), transformers.__version__  # torch's is a class of its own, which no worker can send
