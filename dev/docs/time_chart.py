"""One chart of recorded times as a picture: `python dev/docs/time_chart.py time docs/h200.svg`."""

from __future__ import annotations

from pathlib import Path

from times_table import parser

from pytest_ocrsweep.errors import OcrsweepError
from pytest_ocrsweep.files import atomic
from pytest_ocrsweep.report import recorded
from pytest_ocrsweep.report.charts import charts


def main() -> None:
    made = parser(__doc__)
    made.add_argument("name", metavar="CHART", help="which one; a name that is not one lists them")
    made.add_argument("out", metavar="OUT.svg", type=Path, help="file to write")
    options = made.parse_args()
    try:
        document = recorded.report(options.baselines, options.model, options.gpu, options.grids)
    except OcrsweepError as error:
        made.exit(2, f"{error}\n")
    found = {chart.name: chart for chart in charts(document)}
    if options.name not in found:
        made.exit(2, f"no chart {options.name!r}: choose from {', '.join(found)}\n")
    atomic.write(options.out, found[options.name].svg())


if __name__ == "__main__":
    main()
