"""What users run: one suite for each stage, the laws, and the witness; in the wheel as `pytest_ocrsweep.suites`."""
