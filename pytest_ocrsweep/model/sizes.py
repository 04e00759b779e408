"""The sizes of a workload that kernels are laid out over, as symbols; `stages.symbols` gives each its value."""

from __future__ import annotations

from .symbolic import symbol

BATCH, ROWS, COLUMNS = symbol("batch"), symbol("rows"), symbol("columns")
IMAGE, CONTEXT, KEYS = symbol("image_tokens"), symbol("context_tokens"), symbol("keys")
MANY_PAGES = symbol("many_pages")  # 1 if the batch holds more than one page, else 0: some layouts need a copy then
MANY_COLUMNS = symbol("many_columns")  # 1 if crops stand side by side, else 0
LEAVES = symbol("leaves")  # 1 if the window of new tokens is full after a decode's last step: its oldest key leaves
LEFT = symbol("left")  # 1 if it was full before that step
VIEWS = symbol("views")  # global views of the whole batch: one for each page of each prompt
MANY_VIEWS = symbol("many_views")  # 1 if there are several, else 0
STEP_ROWS = symbol("step_rows")  # the rows of a decode step: the batch, or what an engine pads it to
PROMPT_ROWS = symbol("prompt_rows")  # the rows of a prefill: the tokens of all pages, or what an engine pads them to
