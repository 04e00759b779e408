"""The roofline: each point's rate at its measured time, under the most that the device allows."""

from __future__ import annotations

from ...hardware.devices import Device
from ..columns import Points
from . import drawing, lines, scales
from .drawing import LEFT, RIGHT, TALL, TOP, WIDE, Key, Panel, attention_class, stage_class

MANY, RADIUS = 600, 3.4  # points that are each drawn for themselves, and how large, in pixels


def roofline(points: Points, device: Device) -> tuple[tuple[Panel, ...], tuple[Key, ...]]:
    """Needed tensor FLOP/s over FLOPs per byte from DRAM; a line joins a measured point to its floor."""
    columns = points.columns
    found = []
    for at in range(points.count):
        tensor, bandwidth, floor = (columns[name][at] for name in ("tensor_ns", "bandwidth_ns", "floor_ns"))
        if tensor and bandwidth and floor:
            rate = tensor * device.tensor_flops_per_s / 1e12
            took = columns["device_ns"][at]
            found.append((at, tensor / bandwidth * device.ridge, rate / floor, rate / took if took else None))
    roofs = {"roof, by the data sheet": device}
    if device.as_measured != device:
        roofs["roof, as measured"] = device.as_measured
    xs = [ratio for _, ratio, _, _ in found] + [device.ridge / 2, device.ridge * 2]
    x = scales.logarithmic(xs, LEFT, WIDE - RIGHT)
    ends = [
        min(each.tensor_flops_per_s, at * each.bandwidth_bytes_per_s) / 1e12
        for each in roofs.values()
        for at in (x.low, x.high)
    ]
    rates = [rate for _, _, least, took in found for rate in (least, took) if rate]
    y = scales.logarithmic([*rates, *ends], TALL - drawing.BOTTOM, TOP)
    title = "needed tensor FLOP / byte from DRAM, logarithmic"
    body = [drawing.frame("", y, "needed tensor TFLOP/s, logarithmic", x, None, title, WIDE, TALL)]
    for name, roof in roofs.items():
        line = [
            (x(at), y(min(roof.tensor_flops_per_s, at * roof.bandwidth_bytes_per_s) / 1e12))
            for at in (x.low, roof.ridge, x.high)
        ]
        body.append(drawing.line(line, "roof" if name == "roof, by the data sheet" else "rule"))
    many: dict[str, list[tuple[float, float]]] = {}
    for at, ratio, least, took in found:
        classes = f"{stage_class(columns['stage'][at])} {attention_class(columns['attention'][at])}"
        place = x(ratio), y(took or least)
        if len(found) > MANY:
            many.setdefault(classes, []).append((round(place[0], 1), round(place[1], 1)))
            continue
        if took:
            body.append(drawing.line([(place[0], y(least)), place], f"thin {classes}"))
        body.append(drawing.dot(*place, f"{'dot' if classes.endswith('a0') else 'ring'} {classes}", at, RADIUS))
    body += [drawing.dots(list(dict.fromkeys(places)), classes) for classes, places in many.items()]
    kinds = [
        (stage, kind)
        for stage in lines.stages(points)
        for kind in points.distinct("attention")
        if lines.places(points, stage, kind)
    ]
    keys = [
        Key(
            "dot" if attention_class(kind) == "a0" else "ring",
            f"{stage_class(stage)} {attention_class(kind)}",
            f"{stage}, {kind}",
        )
        for stage, kind in kinds
    ]
    keys += [Key("roof" if name == "roof, by the data sheet" else "rule", "", name) for name in roofs]
    return (Panel("", "".join(body), "", WIDE, TALL),), tuple(keys)
