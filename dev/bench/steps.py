"""How far a decode's time, the mean of its first and last step times its steps, lies from the sum of all its steps.

python dev/bench/steps.py --grid 2x3 --attention flash
python dev/bench/steps.py --set model=deepseek-ocr-tiny --set vendor.device=cpu --new-tokens 5
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import torch

from pytest_ocrsweep import CropGrid, Workload
from pytest_ocrsweep.sweep.config import compose
from pytest_ocrsweep.vendor_model.timing import Vendor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grid", type=CropGrid.parse, default=CropGrid(2, 3))
    parser.add_argument("--attention", default="flash")
    parser.add_argument("--new-tokens", type=int, default=100)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="Hydra override")
    options = parser.parse_args()
    settings = compose(options.set)
    vendor = Vendor(settings.model, torch.device(settings.vendor.device), settings.vendor.seed)
    work = replace(settings.workload.on(options.grid), new_tokens=options.new_tokens)
    whole = sampled(vendor, work, options.attention)
    # A decode of one token after one more key is the step that follows.
    each = [
        sampled(vendor, replace(work, prompt_tokens=work.prompt_tokens + i, new_tokens=1), options.attention)
        for i in range(work.new_tokens)
    ]
    print(
        f"decode {work.grid} {options.attention}, {work.new_tokens} steps, median of each: "
        f"the sum of all {sum(each):,} ns; first and last {each[0]:,} and {each[-1]:,} ns, "
        f"their mean times the steps {(each[0] + each[-1]) * work.new_tokens // 2:,} ns "
        f"({(each[0] + each[-1]) * work.new_tokens / 2 / sum(each) - 1:+.2%}); "
        f"as a point is timed {whole:,} ns ({whole / sum(each) - 1:+.2%})"
    )


def sampled(vendor: Vendor, work: Workload, attention: str) -> int:
    """Median time of a decode, in ns."""
    with vendor.timed("decode", work, attention) as point:
        return round(point.sample().quartiles[1])


if __name__ == "__main__":
    main()
