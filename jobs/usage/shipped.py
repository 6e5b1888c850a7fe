"""The meters that ship with Headroom. I/O."""

from importlib.resources import files

from jobs.usage.meter import Meter, parse_meter


def shipped_meters() -> dict[str, Meter]:
    """The meters that ship with Headroom, by name."""
    found = files("jobs.usage.meters").iterdir()
    texts = {each.name: each.read_text(encoding="utf-8") for each in found if each.name.endswith(".sql")}
    meters = [parse_meter(text, name) for name, text in sorted(texts.items())]
    return {meter.name: meter for meter in meters}
