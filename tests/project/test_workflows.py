"""The workflows are safe to copy: what starts a job on a GPU, what each may do, what scripts do with hostile input."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import documents
import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
ACTIONS = sorted((ROOT / ".github/actions").glob("*/action.yml"))
PINNED = re.compile(r"[\w-]+/[\w./-]+@[0-9a-f]{40} # v[\d.]+")
CALLED = {  # by other workflows: what each may do there
    "ocrsweep.yml": {"contents: read"},
    "ocrsweep-comment.yml": {"actions: read", "pull-requests: write"},
}


def short(path: Path) -> str:
    return str(path.relative_to(ROOT / ".github"))


def read(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / ".github" / name).read_text(encoding="utf-8"))


def jobs(name: str) -> dict[str, Any]:
    return read(f"workflows/{name}")["jobs"]


@pytest.mark.parametrize("path", [*WORKFLOWS, *ACTIONS], ids=short)
def test_each_action_is_pinned_by_a_whole_commit(path: Path) -> None:
    used = re.findall(r"uses: (.*)", path.read_text(encoding="utf-8"))
    ours = [each for each in used if each.startswith("$/")]
    assert [each for each in used if each not in ours and not PINNED.fullmatch(each)] == []
    assert [each for each in ours if not (ROOT / each[2:]).exists()] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=short)
def test_a_job_has_the_permissions_that_it_names_and_a_limit_of_time(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {}
    for job in workflow["jobs"].values():
        assert "permissions" in job
        assert "uses" in job or job["timeout-minutes"] <= 90


@pytest.mark.parametrize("path", WORKFLOWS, ids=short)
def test_nothing_that_a_pull_request_starts_may_write_or_has_a_secret(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    events = workflow[True]  # YAML 1.1 reads `on` as a truth
    assert "pull_request_target" not in events
    assert "secrets." not in text
    if "pull_request" in events:
        granted = {value for job in workflow["jobs"].values() for value in job["permissions"].values()}
        assert granted <= {"read"}
        assert "self-hosted" not in text


def test_each_example_of_a_page_is_a_workflow_that_names_inputs_and_permissions_that_exist() -> None:
    for page in ("ci.md", "gpu.md"):
        for text in re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / page).read_text(encoding="utf-8"), re.S):
            (job,) = yaml.safe_load(text)["jobs"].values()
            name = re.fullmatch(r"OWNER/pytest-ocrsweep/.github/workflows/([\w-]+\.yml)@COMMIT", job["uses"])[1]
            inputs = (read(f"workflows/{name}")[True]["workflow_call"] or {}).get("inputs", {})
            assert job.get("with", {}).keys() <= inputs.keys()
            assert {f"{scope}: {how}" for scope, how in job["permissions"].items()} == CALLED[name]


@pytest.mark.parametrize("name", CALLED)
def test_a_reusable_workflow_needs_the_permissions_that_the_page_grants(name: str) -> None:
    asked = {f"{scope}: {how}" for job in jobs(name).values() for scope, how in job["permissions"].items()}
    assert asked == CALLED[name]
    page = (ROOT / "docs/ci.md").read_text(encoding="utf-8")
    (example,) = (text for text in re.findall(r"```yaml\n(.*?)```", page, re.S) if f"/{name}@COMMIT" in text)
    (job,) = yaml.safe_load(example)["jobs"].values()
    assert {f"{scope}: {how}" for scope, how in job["permissions"].items()} == asked


def _times(event: str, ref: str = "refs/heads/main", gpu: str = '["self-hosted"]') -> bool:
    """Whether the job that times starts: its condition, as Python."""
    condition = jobs("ocrsweep.yml")["times"]["if"]
    for theirs, mine in {"&&": " and ", "||": " or ", "fromJSON(": "json.loads("}.items():
        condition = condition.replace(theirs, mine)
    values = {"inputs.gpu": gpu, "github.event_name": event, "github.ref": ref}
    values["github.event.repository.default_branch"] = "main"
    for name, value in values.items():
        condition = condition.replace(name, repr(value))
    functions = {
        "json": json,
        "contains": lambda listed, value: value in listed,
        "format": lambda text, *words: text.format(*words),
    }
    return eval(" ".join(condition.split()), {"__builtins__": {}}, functions)


@pytest.mark.parametrize("event", ["push", "schedule", "workflow_dispatch", "merge_group"])
def test_times_run_on_events_that_no_stranger_causes(event: str) -> None:
    assert _times(event)
    assert not _times(event, gpu="")


@pytest.mark.parametrize(
    ("event", "ref"),
    [
        *(("pull_request", ref) for ref in ("refs/pull/1/merge", "refs/heads/main")),
        *((event, "refs/heads/main") for event in ("pull_request_target", "issue_comment", "workflow_run", "issues")),
        *(("push", ref) for ref in ("refs/heads/dependabot/pip/x", "refs/tags/main", "refs/heads/main2")),
    ],
)
def test_times_do_not_run_on_any_other_event(event: str, ref: str) -> None:
    assert not _times(event, ref)


def test_counts_ask_for_no_gpu_and_never_for_a_runner_of_the_user() -> None:
    assert jobs("ocrsweep.yml")["counts"]["runs-on"] == "ubuntu-24.04"
    assert read("actions/check/action.yml")["inputs"]["mode"]["default"] == "--ocrsweep-analytic-only"


@pytest.mark.parametrize("path", [*WORKFLOWS, *ACTIONS], ids=short)
def test_no_expression_is_pasted_into_a_script(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    document = yaml.safe_load(text)
    runs = [document["runs"]] if "runs" in document else document["jobs"].values()
    assert [step["run"] for run in runs for step in run.get("steps", []) if "${{" in step.get("run", "")] == []


def test_zizmor_finds_nothing() -> None:
    zizmor = shutil.which("zizmor", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert zizmor, "the development tools are not installed: make test installs them"
    done = subprocess.run(
        [zizmor, "--offline", "--no-progress", str(ROOT / ".github")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


SCHEMAS = {
    "vendor.github-workflows": ".github/workflows/*.yml",
    "vendor.github-actions": ".github/actions/*/action.yml",
    "vendor.github-issue-forms": ".github/ISSUE_TEMPLATE/[!c]*.yml",
    "vendor.github-issue-config": ".github/ISSUE_TEMPLATE/config.yml",
    "vendor.citation-file-format": "CITATION.cff",
}


@pytest.mark.slow  # three seconds each to load
@pytest.mark.parametrize("schema", SCHEMAS)
def test_workflows_forms_and_citation_have_their_schema(schema: str) -> None:
    files = sorted(map(str, ROOT.glob(SCHEMAS[schema])))
    assert files
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema]
    subprocess.run([*command, "--default-filetype", "yaml", *files], check=True)


# The scripts, with a stand-in for `gh` that answers from a file and writes down what it was asked.

GH = """#!{python}
import json, os, pathlib, subprocess, sys
here = pathlib.Path({here!r})
with (here / "asked").open("a") as asked:
    asked.write(json.dumps(sys.argv[1:] + ["token" if os.environ.get("GH_TOKEN") else "no token"]) + "\\n")
words = sys.argv[2:]
url = next(word for word in words if word.startswith("repos/"))
if url.endswith("/zip"):
    sys.stdout.buffer.write((here / "stored.zip").read_bytes())
elif "--jq" in words:
    answer = json.dumps(json.loads((here / "answers.json").read_text())[url.rpartition("/")[2]])
    query = ["jq", "--raw-output", words[words.index("--jq") + 1]]
    sys.exit(subprocess.run(query, input=answer, text=True).returncode)
elif "-F" in words:
    (here / "said.md").write_bytes(pathlib.Path(words[words.index("-F") + 1].partition("@")[2]).read_bytes())
"""
needs_jq = pytest.mark.skipif(not (shutil.which("jq") and shutil.which("unzip")), reason="there is no jq, or no unzip")


class Comment:
    """A run of the comment's steps in a folder."""

    def __init__(self, folder: Path, sweep: str) -> None:
        self.folder = folder
        (folder / "sitecustomize.py").write_text(NO_CHARTS, encoding="utf-8")
        gh = folder / "bin/gh"
        gh.parent.mkdir()
        gh.write_text(GH.format(python=sys.executable, here=str(folder)), encoding="utf-8")
        gh.chmod(0o755)
        (gh.parent / "ocrsweep").write_text(
            f'#!/bin/sh\n[ -z "$GH_TOKEN" ] && exec {sys.executable} -m pytest_ocrsweep "$@"\n', encoding="utf-8"
        )
        (gh.parent / "ocrsweep").chmod(0o755)
        with zipfile.ZipFile(folder / "stored.zip", "w") as archive:
            archive.writestr("sweep.json", sweep)
            archive.writestr("../../escaped", "no")
            archive.writestr("report.md", "@everybody, see https://example.org")
        self.answers: dict[str, Any] = {
            "artifacts": {"artifacts": [{"name": "ocrsweep-counts", "size_in_bytes": 9, "id": 7}]},
            "pulls": [{"head": {"sha": "other"}, "number": 2}, {"head": {"sha": "abc"}, "number": 3}],
            "comments": [],
        }

    def run(self, step: str) -> str:
        """Runs a step; gives what it put out for other steps."""
        (self.folder / "answers.json").write_text(json.dumps(self.answers), encoding="utf-8")
        (script,) = (
            each["run"] for each in jobs("ocrsweep-comment.yml")["comment"]["steps"] if each.get("name") == step
        )
        output = self.folder / "output"
        output.touch()
        environment = {
            "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "BIN": str(self.folder / "bin"),
            "GH_TOKEN": "t",
            "REPO": "o/r",
            "RUN": "1",
            "SHA": "abc",
            "HEAD": "fork:$(touch${IFS}x)`id`",
            "MARKER": "<!-- ocrsweep -->",
            "RUNNER_TEMP": str(self.folder),
            "GITHUB_OUTPUT": str(output),
            "PYTHONPATH": f"{self.folder}{os.pathsep}{ROOT}",
        }
        shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
        subprocess.run(shell, cwd=self.folder, env=environment, check=True, timeout=600)
        return output.read_text(encoding="utf-8")

    @property
    def asked(self) -> list[list[str]]:
        return [json.loads(line) for line in (self.folder / "asked").read_text(encoding="utf-8").splitlines()]

    @property
    def said(self) -> str:
        return (self.folder / "said.md").read_text(encoding="utf-8")


# The scripts run where drawing is not installed, because it takes seconds.
NO_CHARTS = "import sys\nsys.modules['altair'] = None\n"
HOSTILE = '@everybody <img src="https://example.org/x.png"> [click](https://example.org)'


@needs_jq
def test_a_comment_is_made_from_the_numbers_of_the_artifact_alone(tmp_path: Path) -> None:
    comment = Comment(tmp_path, json.dumps(documents.document(gpu=HOSTILE)))
    assert comment.run("Download") == "found=yes\n"
    comment.run("Comment")
    assert comment.said.startswith("<!-- ocrsweep -->\n")
    assert "1 point, none failed" in comment.said
    assert not re.search(r"@everybody|(?<!\\)<img|(?<!\\)\]\(http|see https", comment.said)
    assert not any(path.name in ("escaped", "x") for path in [*tmp_path.rglob("*"), *tmp_path.parent.glob("*")])
    assert comment.asked[-1][:4] == ["api", "--method", "POST", "repos/o/r/issues/3/comments"]


@needs_jq
def test_a_second_run_updates_the_bots_own_comment(tmp_path: Path) -> None:
    comment = Comment(tmp_path, json.dumps(documents.document()))
    comment.answers["comments"] = [
        {"user": {"login": "somebody"}, "body": "<!-- ocrsweep -->", "id": 1},
        {"user": {"login": "github-actions[bot]"}, "body": "something else <!-- ocrsweep -->", "id": 2},
        {"user": {"login": "github-actions[bot]"}, "body": "<!-- ocrsweep -->\nold", "id": 4},
    ]
    comment.run("Download")
    comment.run("Comment")
    assert comment.asked[-1][:4] == ["api", "--method", "PATCH", "repos/o/r/issues/comments/4"]


@needs_jq
def test_nothing_is_said_of_a_commit_that_is_no_longer_the_newest(tmp_path: Path) -> None:
    comment = Comment(tmp_path, json.dumps(documents.document()))
    comment.answers["pulls"] = [{"head": {"sha": "newer"}, "number": 3}]
    comment.run("Download")
    comment.run("Comment")
    assert not (tmp_path / "said.md").exists()


@needs_jq
@pytest.mark.parametrize(
    "artifact", [{"name": "other", "size_in_bytes": 1}, {"name": "ocrsweep-counts", "size_in_bytes": 10**9}]
)
def test_no_other_and_no_large_artifact_is_downloaded(artifact: dict[str, Any], tmp_path: Path) -> None:
    comment = Comment(tmp_path, "{}")
    comment.answers["artifacts"] = {"artifacts": [artifact | {"id": 7}]}
    assert comment.run("Download") == ""
    assert not any(word.endswith("/zip") for words in comment.asked for word in words)


@needs_jq
@pytest.mark.parametrize("sweep", ["", "{", json.dumps({"schema": 1})], ids=["empty", "cut off", "of nothing"])
def test_an_artifact_that_is_no_report_leads_to_no_comment(sweep: str, tmp_path: Path) -> None:
    comment = Comment(tmp_path, sweep)
    comment.run("Download")
    with pytest.raises(subprocess.CalledProcessError):
        comment.run("Comment")
    assert not (tmp_path / "said.md").exists()


def _check(step: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    (script,) = (each["run"] for each in read("actions/check/action.yml")["runs"]["steps"] if each.get("name") == step)
    shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    return subprocess.run(shell, cwd=folder, env=kept | environment, capture_output=True, text=True, check=False)


def test_the_check_runs_pytest_and_its_summary_is_the_report(tmp_path: Path) -> None:
    suite = (ROOT / "suites/test_decode.py").read_text(encoding="utf-8")
    (tmp_path / "test_decode.py").write_text(suite, encoding="utf-8")
    (tmp_path / "test_other.py").write_text("def test_1x1_flash(): pass\n", encoding="utf-8")
    (tmp_path / "pytest.ini").touch()
    (tmp_path / "sitecustomize.py").write_text(NO_CHARTS, encoding="utf-8")
    summary = tmp_path / "summary.md"
    words = {
        "TESTS": "test_decode.py\ntest_other.py -q\n",  # a block of lines, as YAML has them
        "SELECT": "1x1 and flash",
        "MODE": "--ocrsweep-analytic-only",
        "REPORT": "out",
    }
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n', encoding="utf-8")
    (tmp_path / "bin/python").chmod(0o755)
    run = _check("Check", tmp_path, BIN=str(tmp_path / "bin"), PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}", **words)
    assert "1 passed, 1 skipped" in run.stdout or "2 passed" in run.stdout, run.stdout + run.stderr
    assert _check("Summary", tmp_path, REPORT="out", GITHUB_STEP_SUMMARY=str(summary)).returncode == 0
    assert summary.read_text(encoding="utf-8") == (tmp_path / "out/report.md").read_text(encoding="utf-8")


def test_the_summary_says_so_when_there_is_no_report(tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    assert _check("Summary", tmp_path, REPORT="out", GITHUB_STEP_SUMMARY=str(summary)).returncode == 0
    assert summary.read_text(encoding="utf-8") == "There is no report: the log of this job says why.\n"
