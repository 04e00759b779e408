"""Blocks of the pages that no test runs, by page and the start of their first line, each with its reason.

A block that is neither here nor run fails `tests/cli/test_documented.py`, and so does an entry here without a block.
"""

from __future__ import annotations

GPU = "needs a GPU"
ENGINE = "needs an engine in an interpreter of its own: `make engine` does it"
HOSTS = "needs several hosts: `make hosts` does it"
MESSAGE = "a message, which a test of its error produces"
FILE = "a file to write, not a command"
WORKFLOW = "a workflow to copy, which tests/project/test_workflows.py checks"
SHELL = "the commands of a maintainer, which CI runs as `.ci/run` and `make`"

OWN = "tests/cli/test_own_repository.py runs it, from the wheel and in an empty project"

NOT_RUN: dict[tuple[str, str], str] = {
    ("models.md", "$ ocrsweep compare deepseek-ocr deepseek-ocr-2 unlimited-ocr"): "tests/cli/test_one_page.py runs it",
    ("cli.md", "ocrsweep init --stage decode"): OWN,
    (
        "cli.md",
        'eval "$(ocrsweep completion bash)"',
    ): "of a shell's own file; tests/cli/test_completion.py",
    ("own-repository.md", "ocrsweep init"): OWN,
    ("own-repository.md", "pytest --pyargs"): OWN,
    ("own-repository.md", "[tool.pytest"): FILE,
    ("own-repository.md", "conf/"): FILE,
    ("own-repository.md", "# conf/"): FILE,
    ("report.md", "SELECT stage, grid"): "needs a red run's database; tests/report/test_sqlite.py asks for the same",
    ("your-code.md", "import pytest"): "tests/plugin/test_own_code.py runs it",
    ("your-code.md", "pytest test_mine.py"): "tests/plugin/test_own_code.py runs it",
    ("README.md", "make sweep"): SHELL,
    (
        "cli.md",
        "ocrsweep sweep --parquet space.parquet",
    ): "counts 5 million points; tests/cli/test_parquet.py runs fewer",
    ("cli.md", "ocrsweep: batch is 1 in report-0"): MESSAGE,
    ("cli.md", "ocrsweep: vllm-serve-text-only.json"): MESSAGE,
    ("cli.md", "ocrsweep profile 2x3"): GPU,
    ("cli.md", "ocrsweep calibrate --output"): GPU,
    ("cli.md", "ocrsweep gate --against main"): GPU,
    ("ci.md", "name: ocrsweep"): WORKFLOW,
    ("engines.md", "python -m pytest_ocrsweep.engines --python /opt"): ENGINE,
    ("engines.md", "$ python -m pytest_ocrsweep.engines"): ENGINE,
    ("engines.md", "#!/bin/sh"): FILE,
    ("engines.md", "from pathlib import Path"): ENGINE,
    ("gate.md", "$ ocrsweep gate"): GPU,
    ("gate.md", "base  HEAD"): "what `ocrsweep gate` printed of a changed checkout, in three minutes",
    ("gate.md", "export OMP_NUM_THREADS=1"): "times a model on a CPU for minutes, as tests/cli/test_gate.py does",
    ("gpu.md", "pip install"): GPU,
    ("gpu.md", "jobs:"): WORKFLOW,
    ("gpu.md", "for run in 1 2 3"): GPU,
    ("hosts.md", "ERROR: gw1 on node2"): MESSAGE,
    ("hosts.md", "pytest suites/ -d"): HOSTS,
    ("hosts.md", "#SBATCH"): HOSTS,
    ("hosts.md", "measured on node1"): HOSTS,
    ("model.md", "ocrsweep: model.clip.width 48"): MESSAGE,
    ("model.md", "$ pytest suites/test_witness.py"): "takes three minutes; `make test` runs it on the tiny model",
    ("options.md", "- 2x3"): FILE,
    (
        "parallel.md",
        "suites/test_vision.py",
    ): "shows two processes that wait for each other: tests/plugin/test_gpu_lock.py",
    ("serving.md", '$ pytest suites/ -k "decode or prefill" --ocrsweep-set engine=vllm'): ENGINE,
    ("serving.md", "python -m pytest_ocrsweep.engines --python /opt"): ENGINE,
    ("serving.md", "pytest suites/render.py"): "tests/plugin/test_host_code.py runs it on fewer grids",
    ("style.md", "ocrsweep: no option"): MESSAGE,
}
