"""The tests that must notice a change of each module, for mutants.py: files, and pytest options."""

from __future__ import annotations


def frozen(module: str, package: str = "baselines") -> tuple[str]:
    """The test that its values are what they should be."""
    return (f"tests/unit/test_frozen.py::test_the_values_of_a_module_are_frozen_and_have_slots[{package}.{module}]",)


VALUES = "tests/unit/test_values.py"
LAYERS = ("tests/unit/test_kernel_sequences.py", "tests/unit/test_layers.py")
# What is planted in many ways is tried in a few.
# What takes seconds to draw is made up elsewhere.
DRAWN = "all_files_are_written and not charts_are_of_the_last and not of_a_gpu and not every_chart_has_a_name"
QUICK = "not whatever and not put_beside and not through_a_link"
# How a run ends, in a project of two points: one of twelve takes ten times as long.
ENDS = (
    "tests/plugin/test_finish.py",
    "tests/plugin/test_companions.py::test_groups_of_an_order_that_nobody_else_has_are_refused",
)
ENDS += ("tests/plugin/test_companions.py::test_groups_of_one_order_are_taken",)
BEGINS = (
    "ids_read_grid_and_attention",
    "a_tests_own_parameters_win_over_the_sweep",
    "options_have_a_group_and_ini_keys_are_declared",
    "damaged_baselines_stop_no_run_that_checks_no_point",
    "damaged_baselines_stop_a_run_of_one_point_before_another_plugin_is_told_of_it",
    "a_package_that_does_not_fit_stops_a_run_that_uses_ours",
    "a_source_that_only_a_worker_misses_is_one_line_whatever_is_selected",
    "a_run_lets_go_of_what_an_earlier_one_in_its_process_froze",
)
TERMINAL = "tests/plugin/test_terminal.py"
FP8 = "tests/unit/test_fp8_products.py"
# A process of its own has no mutant in it: tests that start one only take time. The last one counts all lines of a run.
IN_PROCESS = ("-m", "not (slow or long)", "-k", "not n2 and not n0 and not quiet_is_one_line")
ALONE = ("-k", "not read_only and not full_disk and not update and not whose_baselines")
DATABASE = ("tests/report/test_sqlite.py", "tests/unit/test_database.py", "-k", "not killed and not processes")
# What a thousand simulated runs tell takes seconds, and single runs tell it too.
SIMULATED = "not two_thousand and not slowdown_is_red and not two_percent and not three_percent"
GATE = ("tests/unit/test_gate.py", "tests/unit/test_power_cap.py", "-k", SIMULATED)
ANCHOR = ("tests/unit/test_anchor.py", "tests/unit/test_history.py")
PAIRED = ("tests/unit/test_paired_group.py", "tests/unit/test_paired.py")
CHARTS = ("tests/report/test_charts.py", "tests/report/test_pictures.py")
TESTS: dict[str, tuple[str, ...]] = {
    "model/geometry": ("tests/unit/test_geometry.py", VALUES),
    "model/architecture": ("tests/unit/test_architecture.py", VALUES),
    "model/symbolic": ("tests/unit/test_symbolic.py", VALUES),
    "model/kernels": ("tests/unit/test_kernels.py", "tests/unit/test_l2_cache.py", *LAYERS),
    "model/operations": ("tests/unit/test_kernels.py", *LAYERS),
    "model/layers/attention": LAYERS,
    "model/layers/clip": LAYERS,
    "model/layers/decoder": LAYERS,
    "model/layers/projector": LAYERS,
    "model/layers/sam": LAYERS,
    "model/layers/quantised": (FP8,),
    "model/liveness": ("tests/unit/test_liveness.py",),
    "model/ledger": (VALUES, "tests/unit/test_l2_cache.py", "tests/unit/test_ledger.py"),
    "model/program": (VALUES, "tests/unit/test_ledger.py", "tests/unit/test_l2_cache.py"),
    "model/attention": (VALUES, "tests/unit/test_stages.py"),
    "model/stages": (VALUES, "tests/unit/test_stages.py", *LAYERS, "tests/unit/test_bulk.py"),
    "model/stage_kernels": (VALUES, "tests/unit/test_stages.py", *LAYERS, "tests/unit/test_engine.py"),
    "model/engine": (*frozen("engine", "model"), "tests/unit/test_engine.py"),
    "model/limits": ("tests/unit/test_engine.py",),
    "model/analytic": ("tests/unit/test_ledger.py", "tests/unit/test_bulk.py", *LAYERS),
    "model/l2_cache": ("tests/unit/test_l2_cache.py",),
    "hardware/devices": ("tests/unit/test_roofline.py", "tests/unit/test_config.py", FP8, VALUES),
    "hardware/roofline": ("tests/unit/test_roofline.py", VALUES),
    "hardware/sizing": ("tests/unit/test_sizing.py", VALUES),
    "hardware/plan": (*frozen("plan", "hardware"), "tests/unit/test_plan.py", "tests/cli/test_plan.py"),
    "hardware/engine_times": (*frozen("engine_times", "hardware"), "tests/unit/test_plan.py"),
    "baselines/metrics": ("tests/unit/test_metrics.py", VALUES),
    "baselines/gate": (*frozen("gate"), "tests/unit/test_shared.py", *GATE, VALUES),
    "baselines/evidence": (*frozen("evidence"), "tests/unit/test_evidence.py", *GATE, VALUES),
    "baselines/sampling": ("tests/unit/test_sampling.py", VALUES),
    "baselines/machine": ("tests/unit/test_sampling.py", "tests/unit/test_power_cap.py"),
    "baselines/power_cap": ("tests/unit/test_power_cap.py",),
    "baselines/counted": ("tests/unit/test_counted.py", VALUES),
    "baselines/timed": ("tests/unit/test_timed.py", VALUES),
    "baselines/journal": ("tests/unit/test_journal.py", VALUES),
    "baselines/blame": (*frozen("blame"), "tests/unit/test_blame.py"),
    "baselines/shared": (*frozen("shared"), "tests/unit/test_shared.py", "tests/unit/test_offset.py"),
    "baselines/settle": ("tests/unit/test_shared.py", *GATE),
    "baselines/anchor": (*frozen("anchor"), *ANCHOR),
    "baselines/history": (*frozen("history"), "tests/unit/test_history.py", "tests/unit/test_anchor.py"),
    "baselines/timed_rows": ("tests/unit/test_timed.py", *ANCHOR, VALUES),
    "baselines/paired": (*frozen("paired"), *PAIRED),
    "baselines/paired_group": (*frozen("paired_group"), *PAIRED),
    "baselines/process_noise": (*frozen("process_noise"), "tests/unit/test_process_noise.py"),
    "baselines/takes": (*frozen("takes"), "tests/unit/test_takes.py"),
    "baselines/serving": ("tests/unit/test_serving.py",),
    "baselines/serving_metrics": ("tests/unit/test_serving.py",),
    "baselines/serving_gate": ("tests/unit/test_serving_gate.py", "tests/unit/test_serving_store.py"),
    "baselines/serving_memory": ("tests/unit/test_serving_store.py",),
    "baselines/serving_rows": ("tests/unit/test_serving_store.py",),
    "baselines/serving_store": ("tests/unit/test_serving_store.py",),
    "files/atomic": ("tests/unit/test_atomic.py", "tests/plugin/test_disk.py", *ALONE),
    "sweep/results": ("tests/unit/test_taken_up.py", "tests/unit/test_unused.py", "tests/unit/test_results.py"),
    "sweep/check": ("tests/unit/test_judge.py", "tests/unit/test_check.py", VALUES),
    "sweep/parts": ("tests/unit/test_check.py", "tests/unit/test_judge.py"),
    "sweep/offset": ("tests/unit/test_offset.py",),
    "sweep/timed_point": (
        *frozen("timed_point", "sweep"),
        "tests/unit/test_timed_point.py",
        "tests/unit/test_offset.py",
    ),
    "sweep/fresh": ("tests/plugin/test_fresh.py",),
    "sweep/turns": (*frozen("turns", "sweep"), "tests/cli/test_turns.py"),
    "sweep/worktree": (*frozen("worktree", "sweep"), "tests/cli/test_worktree.py"),
    "sweep/stopping": ("tests/cli/test_signals.py", "tests/cli/test_stopping.py"),
    "plugin/controller": (*ENDS, TERMINAL, *IN_PROCESS),
    "plugin/__init__": (
        *(f"tests/plugin/test_plugin.py::test_{name}" for name in BEGINS),
        *ENDS,
        TERMINAL,
        *IN_PROCESS,
    ),
    "report/files": (
        *("tests/report/test_files.py", "tests/report/test_owned.py"),
        *("-k", f"{QUICK} and not {DRAWN} and not below_the_job and not loses_no_baseline and not tells_no_job"),
    ),
    "report/owned": ("tests/report/test_owned.py", "-k", QUICK),
    "report/sqlite": DATABASE,
    "report/sqlite_rows": DATABASE,
    "report/sqlite_schema": DATABASE,
    "report/sqlite_upgrade": DATABASE,
    "report/imported/bench_serving": ("tests/report/test_imported.py",),
    "report/imported/fields": ("tests/report/test_imported.py",),
    "report/imported/placed": ("tests/report/test_imported.py",),
    "report/imported/vllm_bench": ("tests/report/test_imported.py",),
    "report/imported/aiperf": ("tests/report/test_imported.py",),
    "report/markdown": ("tests/report/test_markdown.py",),
    "report/html": ("tests/report/test_html.py",),
    "report/charts/__init__": CHARTS,
    "report/charts/drawing": (*frozen("charts.drawing", "report"), *CHARTS),
    "report/charts/lines": (*frozen("charts.lines", "report"), *CHARTS),
    "report/charts/roofs": CHARTS,
    "report/charts/scales": (*frozen("charts.scales", "report"), *CHARTS),
    "report/charts/stacks": CHARTS,
}
