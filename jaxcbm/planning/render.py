"""A plan as text for people and as JSON for programs."""

from typing import Any

from jaxcbm.lines import gib
from jaxcbm.planning.report import Report

_PARTS = {
    "arguments": "arguments",
    "outputs": "outputs",
    "aliased": "of those, in place of arguments",
    "temporaries": "temporaries",
    "code": "program",
    "held": "held beside it",
}


def render(report: Report) -> str:
    """The plan in a screen of text."""
    built = report.built
    lines = [
        f"{report.slice.said}; data={report.data}, model={report.model}",
        f"{report.stage}: {built.batch:,} images a step, {built.images:,} images in all",
        *(f"note: {note}" for note in built.notes),
        "",
        *_memory(report),
        *_largest(report),
        *_work(report),
        *_time(report),
    ]
    seconds = report.compiled.seconds
    lines.append(f"({report.compilations} programs compiled, the first in {seconds:.0f} s)")
    return "\n".join(lines)


def to_json(report: Report) -> dict[str, Any]:
    """Everything that `render` says, in plain numbers: bytes, seconds, dollars."""
    compiled, estimate, work = report.compiled, report.roofline, report.compiled.work
    chip = report.slice.chip
    return {
        "format": "jaxcbm plan 1",
        "topology": report.slice.name,
        "chips": report.slice.count,
        "chip": chip.name,
        "shape": list(report.slice.shape),
        "stage": report.stage,
        "data": report.data,
        "model": report.model,
        "batch_size": report.built.batch,
        "steps_in_program": report.built.steps,
        "images": report.built.images,
        "notes": list(report.built.notes),
        "fits": report.fits,
        "usable_bytes": chip.usable,
        "needed_bytes": compiled.needed,
        "memory": None if compiled.memory is None else compiled.memory._asdict(),
        "work": None if work is None else _work_json(report),
        "xla_flops_loops_once": compiled.xla_flops,
        "seconds": None
        if estimate is None
        else {
            **estimate._asdict(),
            "overlapped": estimate.overlapped,
            "serial": estimate.serial,
            "bound": estimate.bound,
        },
        "dollars_per_chip_hour": report.price,
        "dollars_per_million_images": report.dollars,
        "largest": None
        if report.largest is None
        else {**report.largest._asdict(), "tried": {**report.largest.tried}},
        "advice": [{"flags": flags, "needed_bytes": needed} for flags, needed in report.advice],
        "compilations": report.compilations,
    }


def scaled(count: float, unit: str) -> str:
    """A number with a decimal prefix.

    >>> scaled(1.5e9, "FLOP"), scaled(20.0, "B")
    ('1.5 GFLOP', '20 B')
    """
    for prefix, size in (("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:,.4g} {prefix}{unit}"
    return f"{count:,.4g} {unit}"


def duration(seconds: float) -> str:
    """Seconds for people.

    >>> duration(0.0123), duration(90.0), duration(7200.0), duration(2e-6)
    ('12.3 ms', '1.5 min', '2.0 h', '2 us')
    """
    for unit, size in (("h", 3600.0), ("min", 60.0), ("s", 1.0)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds * 1e3:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.3g} us"


def price(dollars: float) -> str:
    """Dollars for people.

    >>> price(12.345), price(0.00123)
    ('$12.35', '$0.0012')
    """
    return f"${dollars:,.2f}" if dollars >= 0.1 else f"${dollars:.2g}"


def _work_json(report: Report) -> dict[str, Any]:
    work = report.compiled.work
    assert work is not None
    return {
        "flops": work.flops,
        "matrix_unit_flops": work.passes,
        "memory_bytes": work.bytes,
        "link_bytes_sent": work.sent,
        "collectives": [c._asdict() | {"sent": c.sent} for c in work.collectives],
        "unknown_loops": work.unknown_loops,
    }


def _memory(report: Report) -> list[str]:
    compiled, usable = report.compiled, report.slice.chip.usable
    lines = ["memory on each chip"]
    if compiled.memory is not None:
        parts = compiled.memory._asdict()
        lines += [f"  {said:<32}{gib(parts[name]):>14}" for name, said in _PARTS.items()]
    lines.append(f"  {'all of it':<32}{gib(compiled.needed):>14}")
    if usable:
        lines.append(f"  {'the chip has for programs':<32}{gib(usable):>14}")
    if report.fits is None:
        lines.append("  how much the device has is not known")
    elif report.fits:
        lines.append(f"  FITS, with {gib(usable - compiled.needed)} to spare")
    else:
        lines.append(f"  DOES NOT FIT: {gib(compiled.needed - usable)} too much")
        lines += [f"  fits with {flags}: {gib(needed)}" for flags, needed in report.advice]
        if report.largest is None:
            lines.append("  what would fit was not searched for: --search=4")
        elif not report.advice:
            lines.append("  no other setting of this slice was found to fit at this batch")
    return [*lines, ""]


def _largest(report: Report) -> list[str]:
    found = report.largest
    if found is None:
        return []
    tried = ", ".join(f"{size:,}: {gib(needed)}" for size, needed in found.tried.items())
    compiled = f"  compiled to find it: {tried or 'nothing more'}"
    if not found.batch:
        return ["largest batch that fits: none of those compiled", compiled, ""]
    end = "the largest searched" if found.at_limit else "the search ended there"
    if found.next:
        end = f"{found.next:,} does not"
    return [f"largest batch found to fit: {found.batch:,} ({end})", compiled, ""]


def _work(report: Report) -> list[str]:
    work = report.compiled.work
    if work is None:
        return []
    lines = [
        "work of each chip in a step",
        f"  {'matrix products':<32}{scaled(work.flops, 'FLOP'):>14}",
        f"  {'the same in bfloat16 passes':<32}{scaled(work.passes, 'FLOP'):>14}",
        f"  {'memory traffic':<32}{scaled(work.bytes, 'B'):>14}",
    ]
    for each in work.collectives:
        said = f"{each.count:g} x {each.kind} among {each.chips}"
        payload, sent = scaled(each.bytes, "B"), scaled(each.sent, "B")
        lines.append(f"  {said:<32}{payload:>14}, {sent} sent")
    if not work.collectives:
        lines.append("  no communication")
    if work.unknown_loops:
        lines.append(f"  {work.unknown_loops} loops of unknown length count once")
    return [*lines, ""]


def _time(report: Report) -> list[str]:
    estimate = report.roofline
    if estimate is None:
        return []
    built = report.built
    steps = built.images / built.batch
    least, most = estimate.overlapped, estimate.serial
    lines = [
        "time of a step, from the data sheet: nothing real is faster",
        f"  compute {duration(estimate.compute)}, memory {duration(estimate.memory)}, "
        f"links {duration(estimate.links)}",
        f"  {duration(least)} to {duration(most)}, bound by {estimate.bound}: "
        f"{built.batch / most:,.0f} to {built.batch / least:,.0f} images a second",
        f"  all {built.images:,} images: {duration(least * steps)} to {duration(most * steps)}",
    ]
    if report.dollars is not None:
        low, high = report.dollars
        lines.append(
            f"  a million images: {price(low)} to {price(high)} at ${report.price:.2f} an hour and "
            "chip (check your contract; --price)"
        )
    return [*lines, ""]
