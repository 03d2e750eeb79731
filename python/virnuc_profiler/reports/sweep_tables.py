# SPDX-License-Identifier: MIT
"""The tables of a sweep, from the documents that its steps wrote. What was not measured prints as ``n/a``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from virnuc_profiler.analysis.selection import THROTTLED, is_throttled
from virnuc_profiler.telemetry.values import printable

Document = Mapping[str, Any]
Result = Mapping[str, Any]

NOT_MEASURED: Final = "n/a"
FAILED: Final = "---"


def render_step(document: Document) -> str:
    """The table of any step."""
    return _RENDERERS[document["step"]](document)


def render_baseline(document: Document) -> str:
    """The baseline's figures."""
    lines = ["Baseline Configuration (defaults)", _rule(34), *map(_figures, document["results"]), _rule(34)]
    return "\n".join(lines)


def render_dataloader(document: Document) -> str:
    """One line for each number of workers and prefetch factor."""
    columns = [
        _setting("Workers", "num_workers"),
        _setting("Prefetch", "prefetch_factor"),
        _SEQ,
        _TOK,
        _GPU,
        _MEM,
        _SPEEDUP,
    ]
    names = ("num_workers", "prefetch_factor")
    return _sweep_table("DataLoader Parameter Sweep", 67, columns, document, names)


def render_packing(document: Document) -> str:
    """One line for each token budget and buffer size."""
    columns = [
        _setting("Budget ", "token_budget"),
        _setting("Buffer", "buffer_size"),
        _SEQ,
        _PACK,
        _GPU,
        _MEM,
        _SPEEDUP,
    ]
    return _sweep_table("Packing Parameter Sweep", 70, columns, document, ("token_budget", "buffer_size"))


def render_interaction(document: Document) -> str:
    """One line for each number of workers and token budget, failed ones too."""
    names = ("num_workers", "token_budget")
    settings = [_setting("Workers", "num_workers"), _setting("Budget", "token_budget")]
    columns = [*settings, _SEQ, _PACK, _GPU, _MEM, _SPEEDUP, _STATUS]
    title = "Parameter Interaction Sweep (num_workers x token_budget)"
    lines = _table(title, 70, columns, document["results"])
    best = document["best"]
    if best is None:
        lines.append("Sweet spot: none, no configuration succeeded")
    else:
        packing = _percent(best["packing_efficiency"])
        wanted = f">{document['min_packing']:.0%} packing"
        met = wanted if document["constraint_met"] else f"{packing} packing"
        lines.append(f"Sweet spot: {_named(best['config'], names)} ({_rate(best)} seq/sec, {met}, no OOM)")
    return "\n".join(
        [*lines, *_notes(document), *_throttled(document["results"], names), *_failures(document["results"], names)]
    )


def render_validation(document: Document) -> str:
    """The best configuration on the longer workload, and what it means for a large job."""
    workload, projection = document["workload"], document["projection"]
    lines = ["Optimal Configuration Validation", _rule(34)]
    if not document["results"]:
        return "\n".join([*lines, f"Not run: {printable(str(document['selection']['reason']))}", _rule(34)])
    (result,) = document["results"]
    lines += [
        _figures(result),
        f"Workload: {workload['num_sequences']:,} sequences, {workload['tokens']:,} tokens",
        f"Chosen for: {printable(str(document['selection']['reason']))}",
        _rule(34),
    ]
    if projection is None or projection["hours"] is None:
        return "\n".join([*lines, "Projected run time: n/a"])
    return "\n".join(
        [*lines, f"Projected run time for {projection['sequences']:,} sequences: {projection['hours']:,.2f} hours"]
    )


def render_best(best: Document) -> str:
    """The recommended configuration, from the file of its own."""
    workload = best["validation_workload"]
    return render_validation({**best, "workload": workload, "results": [best["validation"]], "selection": best})


Column = tuple[str, Callable[[Result], str]]


def _sweep_table(title: str, width: int, columns: Sequence[Column], document: Document, names: Sequence[str]) -> str:
    """A table of the successful configurations, with the best, the baseline and the failed ones below."""
    results, best, baseline = document["results"], document["best"], document["baseline"]
    lines = _table(title, width, columns, [result for result in results if _succeeded(result)])
    if best is None:
        lines.append("Best: none, no configuration succeeded")
    else:
        efficiency = f", {_percent(best['packing_efficiency'])} eff" if document["min_packing"] is not None else ""
        lines.append(
            f"Best: {_named(best['config'], names)} "
            f"({_rate(best)} seq/sec{efficiency}, {_times(best.get('speedup'))} vs baseline)"
        )
    if baseline is not None:
        lines.append(f"Baseline: {_named(baseline['config'], names)} ({_rate(baseline)} seq/sec)")
    return "\n".join([*lines, *_notes(document), *_throttled(results, names), *_failures(results, names)])


def _table(title: str, width: int, columns: Sequence[Column], results: Iterable[Result]) -> list[str]:
    rows = [[heading for heading, _ in columns]]
    rows += [[cell(result) for _, cell in columns] for result in results]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [" | ".join(text.ljust(size) for text, size in zip(row, widths, strict=True)).rstrip() for row in rows]
    rule = _rule(max(width, *map(len, lines)))
    return [title, rule, *lines, rule]


def _notes(document: Document) -> list[str]:
    notes = []
    if document["constraint_met"] is False:
        notes.append(
            f"No configuration reached {document['min_packing']:.0%} packing efficiency: "
            "the best without that constraint is shown."
        )
    if not document["complete"]:
        notes.append(f"Incomplete: {len(document['results'])} of {document['planned']} configurations were run.")
    mixed = [result["measured_under"] for result in document["results"] if result.get("measured_under")]
    if mixed:
        what = ", ".join(dict.fromkeys(str(name) for under in mixed for name in under))
        notes.append(f"Mixed: {len(mixed)} of {len(document['results'])} differ from the rest in {printable(what)}.")
    if document["best"] is not None and is_throttled(document["best"]):
        notes.append("Every configuration that succeeded was throttled: compare on a cooler device.")
    return notes


def _throttled(results: Iterable[Result], names: Sequence[str]) -> list[str]:
    """Those that never win while others succeeded, with the reasons that held the device down."""
    held = [result for result in results if _succeeded(result) and is_throttled(result)]
    if not held:
        return []
    lines = [f"  {_named(result['config'], names)} ({_held_down(result)})" for result in held]
    return ["", "Throttled configurations (chosen only if all were):", *lines]


def _held_down(result: Result) -> str:
    evidence = result.get("evidence") or {}
    share, reasons = evidence.get("held_down_share"), evidence.get("reasons") or {}
    return printable(f"{_percent(share)} of the time: {', '.join(reasons) or NOT_MEASURED}")


def _failures(results: Iterable[Result], names: Sequence[str]) -> list[str]:
    by_reason: dict[str, list[Result]] = {}
    for result in results:
        if not _succeeded(result):
            by_reason.setdefault(_reason(result), []).append(result)
    lines: list[str] = []
    for reason, failed in by_reason.items():
        lines += ["", f"Failed configurations ({printable(reason)}):"]
        lines += [f"  {_named(result['config'], names)} ({_failure(result)})" for result in failed]
    return lines


def _reason(result: Result) -> str:
    return f"{result['reason']}{', predicted' if result.get('predicted') else ''}"


def _failure(result: Result) -> str:
    if result.get("predicted"):
        predicted, available = (_gigabytes(result.get(f"{what}_memory_gb")) for what in ("predicted_peak", "available"))
        return f"predicted: {predicted} of {available}, not tried"
    if result["reason"] == "OOM":
        where = {"host": " of the host", "shared memory": " of shared memory"}.get(str(result.get("memory")), "")
        return f"peak memory: {_gigabytes(result['peak_memory_gb'])} before OOM{where}"
    return printable(str(result.get("message", "no message")))


def _figures(result: Result) -> str:
    lines = [_named(result["config"], tuple(result["config"]))]
    if _succeeded(result):
        lines += [
            f"Throughput: {_rate(result)} seq/sec, {_whole(result['tokens_per_sec'])} tok/sec",
            f"GPU Utilization: {_percent(result['gpu_util'], 1)}",
            f"Packing Efficiency: {_percent(result['packing_efficiency'])}",
            f"Peak Memory: {_gigabytes(result['peak_memory_gb'])}",
        ]
        if is_throttled(result):
            lines.append(f"Throttled: {_held_down(result)}")
    else:
        lines.append(f"Failed: {printable(result['reason'])} ({_failure(result)})")
    return "\n".join(lines)


def _succeeded(result: Result) -> bool:
    return bool(result["status"] == "success")


def _named(config: Mapping[str, int], names: Sequence[str]) -> str:
    return printable(", ".join(f"{name}={config[name]}" for name in names))


def _rule(width: int) -> str:
    return "=" * width


def _rate(result: Result) -> str:
    value = result.get("sequences_per_sec")
    return NOT_MEASURED if value is None else f"{value:.1f}"


def _whole(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{value:,.0f}"


def _percent(value: float | None, factor: float = 100) -> str:
    return NOT_MEASURED if value is None else f"{value * factor:.1f}%"


def _gigabytes(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{value:.2f} GB"


def _times(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{value:.2f}x"


def _setting(heading: str, name: str) -> Column:
    return heading, lambda result: str(result["config"][name])


def _measured(text: Callable[[Result], str]) -> Callable[[Result], str]:
    return lambda result: text(result) if _succeeded(result) else FAILED


def _memory(result: Result) -> str:
    value = result["peak_memory_gb"]
    return NOT_MEASURED if value is None else f"{value:.2f}G"


def _status(result: Result) -> str:
    if _succeeded(result):
        return THROTTLED if is_throttled(result) else "OK"
    return printable(_reason(result))


_SEQ: Final[Column] = ("Seq/sec", _measured(_rate))
_TOK: Final[Column] = ("Tok/sec ", _measured(lambda result: _whole(result["tokens_per_sec"])))
_PACK: Final[Column] = ("Pack Eff", _measured(lambda result: _percent(result["packing_efficiency"])))
_GPU: Final[Column] = ("GPU Util", _measured(lambda result: _percent(result["gpu_util"], 1)))
_MEM: Final[Column] = ("Memory ", _memory)
_SPEEDUP: Final[Column] = ("Speedup", _measured(lambda result: _times(result.get("speedup"))))
_STATUS: Final[Column] = ("Status", _status)

_RENDERERS: Final[Mapping[str, Callable[[Document], str]]] = {
    "baseline": render_baseline,
    "dataloader": render_dataloader,
    "packing": render_packing,
    "interaction": render_interaction,
    "validation": render_validation,
}
