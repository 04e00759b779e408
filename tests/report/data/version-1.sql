BEGIN TRANSACTION;
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
INSERT INTO "components" VALUES(1,'decode','2x3','flash','decoder/attn',1,2,2,2,2);
INSERT INTO "components" VALUES(1,'decode','2x3','flash','head',0,1,1,1,1);
INSERT INTO "components" VALUES(1,'prefill','2x3','flash','decoder/attn',0,1,1,1,1);
INSERT INTO "components" VALUES(1,'prefill','2x3','flash','head',1,2,2,2,2);
INSERT INTO "components" VALUES(2,'prefill','2x3','flash','decoder/attn',0,1,1,1,1);
INSERT INTO "components" VALUES(2,'prefill','2x3','flash','head',1,2,2,2,2);
CREATE TABLE points (
  run                   INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
  stage                 TEXT    NOT NULL CHECK (stage IN ('vision', 'prefill', 'decode')),
  grid                  TEXT    NOT NULL CHECK (grid GLOB '[1-9]*x[1-9]*'),  -- rows x columns of crops
  attention             TEXT    NOT NULL CHECK (attention IN ('eager', 'flash')),
  image_tokens          INTEGER NOT NULL CHECK (image_tokens >= 0),
  context_tokens        INTEGER NOT NULL CHECK (context_tokens >= 0),
  new_tokens            INTEGER NOT NULL CHECK (new_tokens >= 0),
  batch                 INTEGER NOT NULL CHECK (batch >= 0),
  verdict               TEXT    NOT NULL,
  -- counted; a decode's are of all its new tokens
  tensor_flops          INTEGER NOT NULL CHECK (tensor_flops >= 0),
  vector_flops          INTEGER NOT NULL CHECK (vector_flops >= 0),
  read_bytes            INTEGER NOT NULL CHECK (read_bytes >= 0),   -- kernel by kernel
  write_bytes           INTEGER NOT NULL CHECK (write_bytes >= 0),
  weight_bytes          INTEGER NOT NULL CHECK (weight_bytes >= 0),
  kv_cache_bytes        INTEGER NOT NULL CHECK (kv_cache_bytes >= 0),
  peak_activation_bytes INTEGER NOT NULL CHECK (peak_activation_bytes >= 0),
  -- the least that physics allows on floor_device
  floor_device          TEXT,
  floor_ns              INTEGER CHECK (floor_ns >= 0),
  floor_bound           TEXT,
  compulsory_bytes      INTEGER CHECK (compulsory_bytes >= 0),
  dram_bytes            INTEGER CHECK (dram_bytes >= 0),
  floor_tensor_ns       INTEGER CHECK (floor_tensor_ns >= 0),
  floor_vector_ns       INTEGER CHECK (floor_vector_ns >= 0),
  floor_bandwidth_ns    INTEGER CHECK (floor_bandwidth_ns >= 0),
  estimate_ns           INTEGER CHECK (estimate_ns >= 0),
  attained_ratio        REAL    CHECK (attained_ratio >= 0),
  mfu_ratio             REAL    CHECK (mfu_ratio >= 0),
  mbu_ratio             REAL    CHECK (mbu_ratio >= 0),
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
  CHECK (wall_median_ns IS NULL OR device_median_ns IS NOT NULL)
) STRICT;
INSERT INTO "points" VALUES(1,'prefill','2x3','flash',893,903,100,1,'PASS',1000000000000,10000000000,5000000000,1000000000,6000000000,55500000,837000000,'NVIDIA H200',1152063,'tensor',1000000000,NULL,1152063,128650,168443,15000000,0.0576,0.05,0.25,'NVIDIA H200',1000000000000,837000000,1,2,20000000,30000000,59940000,59940000,60000000,60060000,'cuda-graph','grouped_mm','converged',2300,1,1980,612.5,'pass',0.0012,0.0127,'{"vendor": {"token_ns": [2000000, 2100000], "objections": []}}');
INSERT INTO "points" VALUES(1,'decode','2x3','flash',893,903,100,1,'PASS',1000000000000,10000000000,5000000000,1000000000,6000000000,55500000,837000000,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'{}');
INSERT INTO "points" VALUES(2,'prefill','2x3','flash',893,903,100,1,'PASS',1000000000000,10000000000,5000000000,1000000000,6000000000,55500000,837000000,'NVIDIA H200',1152063,'tensor',1000000000,NULL,1152063,128650,168443,15000000,0.0576,0.05,0.25,'NVIDIA H200',1000000000000,837000000,19980000,19980000,20000000,20020000,NULL,NULL,NULL,NULL,'cuda-graph','grouped_mm','converged',2300,1,1980,612.5,'pass',0.0012,0.0127,'{"vendor": {"token_ns": [2000000, 2100000], "objections": [], "l2_hits": 3}, "mood": "good"}');
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
INSERT INTO "runs" VALUES(1,'2026-11-28T09:38:14+00:00','eb759fc2e229911a345b09cf6bdffc7943a8fc395c83d56735d866e02e145372',1,'deepseek-ocr',10,100,1,'gundam','NVIDIA H200','580.1','2.11.0',NULL,'bf16','random, seed 0',NULL,'{"environment": {"attention_implementation": {"eager": "eager", "flash": "sdpa"}}}');
INSERT INTO "runs" VALUES(2,'2026-11-28T09:38:14+00:00','696d296aada1680155f8457a62d7730e5b75d39450f9fb1091c794f3621fc054',1,'deepseek-ocr',10,100,1,'gundam','NVIDIA H200','580.1','2.11.0',NULL,'bf16','random, seed 0',NULL,'{"environment": {"attention_implementation": {"eager": "eager", "flash": "sdpa"}}}');
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
INSERT INTO "samples" VALUES(1,'prefill','2x3','flash','device_ns',0,1);
INSERT INTO "samples" VALUES(1,'prefill','2x3','flash','device_ns',1,20000000);
INSERT INTO "samples" VALUES(1,'prefill','2x3','flash','device_ns',2,30000000);
INSERT INTO "samples" VALUES(1,'prefill','2x3','flash','wall_ns',0,59940000);
INSERT INTO "samples" VALUES(1,'prefill','2x3','flash','wall_ns',1,60000000);
INSERT INTO "samples" VALUES(1,'prefill','2x3','flash','wall_ns',2,60060000);
INSERT INTO "samples" VALUES(1,'prefill','2x3','flash','wall_ns',3,59940000);
INSERT INTO "samples" VALUES(1,'prefill','2x3','flash','wall_ns',4,60000000);
INSERT INTO "samples" VALUES(2,'prefill','2x3','flash','device_ns',0,19980000);
INSERT INTO "samples" VALUES(2,'prefill','2x3','flash','device_ns',1,20000000);
INSERT INTO "samples" VALUES(2,'prefill','2x3','flash','device_ns',2,20020000);
INSERT INTO "samples" VALUES(2,'prefill','2x3','flash','device_ns',3,19980000);
INSERT INTO "samples" VALUES(2,'prefill','2x3','flash','device_ns',4,20000000);
INSERT INTO "samples" VALUES(2,'prefill','2x3','flash','device_ns',5,20020000);
INSERT INTO "samples" VALUES(2,'prefill','2x3','flash','device_ns',6,19980000);
INSERT INTO "samples" VALUES(2,'prefill','2x3','flash','device_ns',7,20000000);
INSERT INTO "samples" VALUES(2,'prefill','2x3','flash','device_ns',8,20020000);
INSERT INTO "samples" VALUES(2,'prefill','2x3','flash','device_ns',9,19980000);
COMMIT;
