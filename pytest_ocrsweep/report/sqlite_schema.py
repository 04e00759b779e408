"""The tables of sweep.sqlite, and where each of their columns stands in the document."""

from __future__ import annotations

from collections.abc import Iterable

from ..baselines.measurement import ENVIRONMENT
from ..baselines.metrics import METRICS, analytic_names
from ..baselines.result import NAMES
from ..baselines.sweep_report import WORKLOAD
from ..model.attention import ATTENTION
from ..model.stages import STAGES

APPLICATION_ID = 0x4F435253  # "OCRS": what `file` and we know such a database by
VERSION = 5  # of these tables and their views


def _choices(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _counted() -> str:
    """A column for each metric that is counted."""
    lines = []
    for name in analytic_names():
        comment = METRICS[name].comment
        line = f"  {name:<21} INTEGER NOT NULL CHECK ({name} >= 0),"
        lines.append(f"{line}   -- {comment}" if comment else line)
    return "\n".join(lines)


# SQLite keeps the comments: `.schema` shows them to whoever asks what a column is.
TABLES = f"""
CREATE TABLE runs (
  run           INTEGER PRIMARY KEY,
  written_utc   TEXT    NOT NULL,
  sha256        TEXT    NOT NULL,  -- of the run's document as canonical JSON
  schema        INTEGER NOT NULL,
  model         TEXT    NOT NULL,
  prompt_tokens INTEGER NOT NULL CHECK (prompt_tokens >= 0),
  new_tokens    INTEGER NOT NULL CHECK (new_tokens >= 0),
  batch         INTEGER NOT NULL CHECK (batch >= 0),
  resolution    TEXT    NOT NULL,
  gpu           TEXT,              -- NULL, here and below: not known, or not measured
  driver        TEXT,
  torch         TEXT,
  transformers  TEXT,
  dtype         TEXT,
  weights       TEXT,
  git_revision  TEXT,
  more          TEXT    NOT NULL   -- JSON: what else the document has
) STRICT;

CREATE TABLE points (
  run                   INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
  stage                 TEXT    NOT NULL CHECK (stage IN ({_choices(STAGES)})),
  grid                  TEXT    NOT NULL CHECK (grid GLOB '[1-9]*x[1-9]*'),  -- rows x columns of crops
  attention             TEXT    NOT NULL CHECK (attention IN ({_choices(ATTENTION)})),
  image_tokens          INTEGER NOT NULL CHECK (image_tokens >= 0),
  context_tokens        INTEGER NOT NULL CHECK (context_tokens >= 0),
  new_tokens            INTEGER NOT NULL CHECK (new_tokens >= 0),
  batch                 INTEGER NOT NULL CHECK (batch >= 0),
  verdict               TEXT    NOT NULL,
  -- counted; a decode's are of all its new tokens
{_counted()}
  -- the least that physics allows on floor_device
  floor_device          TEXT,
  floor_ns              INTEGER CHECK (floor_ns >= 0),
  floor_bound           TEXT,
  compulsory_bytes      INTEGER CHECK (compulsory_bytes >= 0),
  dram_bytes            INTEGER CHECK (dram_bytes >= 0),
  floor_tensor_ns       INTEGER CHECK (floor_tensor_ns >= 0),
  floor_vector_ns       INTEGER CHECK (floor_vector_ns >= 0),
  floor_bandwidth_ns    INTEGER CHECK (floor_bandwidth_ns >= 0),
  kernel_limit_ns       INTEGER CHECK (kernel_limit_ns >= 0),
  attained_ratio        REAL    CHECK (attained_ratio >= 0),
  mfu_ratio             REAL    CHECK (mfu_ratio >= 0),
  mbu_ratio             REAL    CHECK (mbu_ratio >= 0),
  -- what is expected on estimate_device; 90 % of measured times lie between low and high
  estimate_device       TEXT,
  estimate_ns           INTEGER CHECK (estimate_ns >= 0),
  estimate_low_ns       INTEGER CHECK (estimate_low_ns >= 0),
  estimate_high_ns      INTEGER CHECK (estimate_high_ns >= 0),
  -- measured on the vendor's model
  vendor_gpu            TEXT,
  vendor_tensor_flops   INTEGER CHECK (vendor_tensor_flops >= 0),
  vendor_peak_bytes     INTEGER CHECK (vendor_peak_bytes >= 0),
  device_min_ns         INTEGER CHECK (device_min_ns >= 0),
  device_q1_ns          INTEGER CHECK (device_q1_ns >= 0),
  device_median_ns      INTEGER CHECK (device_median_ns > 0),
  device_q3_ns          INTEGER CHECK (device_q3_ns >= 0),
  wall_min_ns           INTEGER CHECK (wall_min_ns >= 0),
  wall_q1_ns            INTEGER CHECK (wall_q1_ns >= 0),
  wall_median_ns        INTEGER CHECK (wall_median_ns > 0),
  wall_q3_ns            INTEGER CHECK (wall_q3_ns >= 0),
  clock                 TEXT,
  experts               TEXT,
  stopped               TEXT,
  kernels               INTEGER CHECK (kernels >= 0),
  rounds                INTEGER CHECK (rounds >= 0),
  sm_clock_mhz          INTEGER CHECK (sm_clock_mhz >= 0),
  power_w               REAL    CHECK (power_w >= 0),
  gate_outcome          TEXT,
  gate_change_ratio     REAL,
  gate_margin_ratio     REAL    CHECK (gate_margin_ratio >= 0),
  more                  TEXT    NOT NULL,  -- JSON: what else the point has
  PRIMARY KEY (run, stage, grid, attention),
  CHECK (device_min_ns <= device_q1_ns),  -- CHECK lets NULL pass
  CHECK (device_q1_ns <= device_median_ns),
  CHECK (device_median_ns <= device_q3_ns),
  CHECK (wall_min_ns <= wall_q1_ns),
  CHECK (wall_q1_ns <= wall_median_ns),
  CHECK (wall_median_ns <= wall_q3_ns),
  CHECK ((floor_device IS NULL) = (floor_ns IS NULL)),
  CHECK ((estimate_device IS NULL) = (estimate_ns IS NULL)),
  CHECK (wall_median_ns IS NULL OR device_median_ns IS NOT NULL)
) STRICT;

CREATE TABLE components (
  run          INTEGER NOT NULL,
  stage        TEXT    NOT NULL,
  grid         TEXT    NOT NULL,
  attention    TEXT    NOT NULL,
  part         TEXT    NOT NULL,  -- such as sam, or decoder/attn
  position     INTEGER NOT NULL CHECK (position >= 0),  -- in the order they run
  tensor_flops INTEGER NOT NULL CHECK (tensor_flops >= 0),
  vector_flops INTEGER NOT NULL CHECK (vector_flops >= 0),
  read_bytes   INTEGER NOT NULL CHECK (read_bytes >= 0),
  write_bytes  INTEGER NOT NULL CHECK (write_bytes >= 0),
  PRIMARY KEY (run, stage, grid, attention, part),
  FOREIGN KEY (run, stage, grid, attention) REFERENCES points ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE TABLE samples (
  run       INTEGER NOT NULL,
  stage     TEXT    NOT NULL,
  grid      TEXT    NOT NULL,
  attention TEXT    NOT NULL,
  clocked   TEXT    NOT NULL CHECK (clocked IN ('device_ns', 'wall_ns')),
  position  INTEGER NOT NULL CHECK (position >= 0),  -- in the order they were taken
  time_ns   INTEGER NOT NULL CHECK (time_ns >= 0),
  PRIMARY KEY (run, stage, grid, attention, clocked, position),
  FOREIGN KEY (run, stage, grid, attention) REFERENCES points ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
"""

MOVED = """
CREATE VIEW moved AS  -- what moved at a point since its baseline, a row a number; the ratio 0.03 is 3 % more
SELECT run, stage, grid, attention, verdict,
       json_extract(number.value, '$.metric') AS metric,
       json_extract(number.value, '$.old') AS old,
       json_extract(number.value, '$.new') AS new,
       json_extract(number.value, '$.change') AS change_ratio,
       json_extract(number.value, '$.margin') AS margin_ratio,  -- NULL: counted, and compared exactly
       json_extract(number.value, '$.causes') AS causes,  -- JSON: components and lines
       json_extract(number.value, '$.accept') AS accept  -- the command that makes it the baseline
FROM points, json_each(points.more, '$.moved') AS number;
"""
ENERGY = """
CREATE VIEW energy AS  -- what a board's counter said of a point; energy_mj is NULL where nothing counts
SELECT run, stage, grid, attention, vendor_gpu AS gpu,
       json_extract(more, '$.vendor.energy.mj') AS energy_mj,  -- of the whole board, its power at rest included
       json_extract(more, '$.vendor.energy.power_w') AS power_w,
       json_extract(more, '$.vendor.energy.idle_w') AS idle_w,  -- at rest, when the process began
       json_extract(more, '$.vendor.energy.outcome') AS outcome,
       json_extract(more, '$.vendor.energy.change') AS change_ratio,
       json_extract(more, '$.vendor.energy.margin') AS margin_ratio,
       json_extract(more, '$.vendor.energy.why') AS why
FROM points WHERE json_extract(more, '$.vendor.energy') IS NOT NULL;
"""
OWN = """
CREATE VIEW own AS  -- code of the user's own: a model at a point, or a call without grid and attention
SELECT run,
       json_extract(each.value, '$.name') AS name,
       json_extract(each.value, '$.stage') AS stage,
       json_extract(each.value, '$.grid') AS grid,
       json_extract(each.value, '$.attention') AS attention,
       json_extract(each.value, '$.measured.gpu') AS gpu,
       json_extract(each.value, '$.verdict') AS verdict,
       json_extract(each.value, '$.counted.tensor_flops') AS tensor_flops,  -- NULL: not counted
       json_extract(each.value, '$.measured.device_ns.median') AS time_ns,
       json_extract(each.value, '$.measured.clock') AS clock,
       json_extract(each.value, '$.measured.gate.change') AS change_ratio,
       json_extract(each.value, '$.measured.gate.margin') AS margin_ratio,
       coalesce(json_extract(each.value, '$.moved'), '[]') AS moved  -- JSON: as in own_moved
FROM runs, json_each(runs.more, '$.own') AS each;
"""
OWN_MOVED = """
CREATE VIEW own_moved AS  -- what moved of code of the user's own, a row a number, as in moved
SELECT run, name, stage, grid, attention, verdict,
       json_extract(number.value, '$.metric') AS metric,
       json_extract(number.value, '$.old') AS old,
       json_extract(number.value, '$.new') AS new,
       json_extract(number.value, '$.change') AS change_ratio,
       json_extract(number.value, '$.margin') AS margin_ratio,
       json_extract(number.value, '$.causes') AS causes,
       json_extract(number.value, '$.accept') AS accept
FROM own, json_each(own.moved) AS number;
"""
ALL_VIEWS = (MOVED, ENERGY, OWN, OWN_MOVED)
SQL = TABLES + "".join(ALL_VIEWS)

Path = tuple[str, ...]
CLOCKED = ("device_ns", "wall_ns")  # each: min, median, q1, q3 and samples

RUN: dict[str, Path] = {
    "schema": ("schema",),
    "model": ("model",),
    **{name: ("workload", name) for name in WORKLOAD},
    **{name: ("environment", name) for name in ENVIRONMENT if name != "host"},
}
POINT: dict[str, Path] = {
    **{name: (name,) for name in (*NAMES, "image_tokens", "context_tokens", "new_tokens", "batch", "verdict")},
    **{name: ("analytic", name) for name in analytic_names()},
    "floor_device": ("floor", "device"),
    "floor_ns": ("floor", "time_ns"),
    "floor_bound": ("floor", "bound"),
    **{name: ("floor", name) for name in ("compulsory_bytes", "dram_bytes", "kernel_limit_ns")},
    **{f"floor_{name}": ("floor", name) for name in ("tensor_ns", "vector_ns", "bandwidth_ns")},
    **{f"{name}_ratio": ("floor", name) for name in ("attained", "mfu", "mbu")},
    "estimate_device": ("estimate", "device"),
    **{f"estimate_{name}": ("estimate", name) for name in ("low_ns", "high_ns")},
    "estimate_ns": ("estimate", "time_ns"),
    **{f"vendor_{name}": ("vendor", name) for name in ("gpu", "tensor_flops", "peak_bytes")},
    **{
        f"{clocked.removesuffix('ns')}{name}_ns": ("vendor", clocked, name)
        for clocked in CLOCKED
        for name in ("min", "q1", "median", "q3")
    },
    **{
        name: ("vendor", name)
        for name in ("clock", "experts", "stopped", "kernels", "rounds", "sm_clock_mhz", "power_w")
    },
    "gate_outcome": ("vendor", "gate", "outcome"),
    "gate_change_ratio": ("vendor", "gate", "change"),
    "gate_margin_ratio": ("vendor", "gate", "margin"),
}
NULLABLE: dict[Path, str] = {  # parts of a point that are null where the column is NULL
    ("vendor", "wall_ns"): "wall_median_ns",
    ("vendor",): "device_median_ns",
    ("floor",): "floor_ns",
    ("estimate",): "estimate_ns",
}
