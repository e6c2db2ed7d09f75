"""What a run prints, as plain numbers for run.json: the same facts for programs."""

from __future__ import annotations

from typing import Any

from recsys.domain.clock import utc_of
from recsys.domain.report import Report
from recsys.runs.learn import Learned, Task
from recsys.runs.prepare import Prepared
from recsys.runs.tell import shown
from recsys.towers.device import Device
from recsys.towers.job import EpochRow

JSON = dict[str, Any]


def of_device(device: Device) -> JSON:
    """Return kind (cpu or cuda), processes, and threads of each process."""
    return {"kind": device.kind, "processes": device.processes, "threads": device.threads}


def of_data(prepared: Prepared) -> JSON:
    """Return counts of what was read, kept and set aside, and the days it spans (UTC)."""
    dataset, checked = prepared.dataset, prepared.checked
    events = dataset.events
    return {
        "name": dataset.name,
        "simulated": prepared.truth is not None,
        "first": day(int(events.at.min(initial=dataset.watermark))),
        "last": day(int(events.at.max(initial=0))) if len(events) else day(dataset.watermark),
        "members": dataset.num_members,
        "sales": dataset.num_sales,
        "events": len(events),
        "rows_read": sum(checked.rows_in.values()),
        "set_aside": {table: dict(reasons) for table, reasons in checked.counts.items() if reasons},
        "notes": list(prepared.notes),
    }


def of_task(posed: Task) -> JSON:
    """Return the last day of each block of time, its requests, and the width of the features."""
    blocks, encoded = posed.blocks, posed.encoded
    names = ["towers", "validation", "value", "calibration", "test"]
    names += ["refit"] if blocks.refit is not None else []
    ends = {one.name: day(one.last) for one in blocks.split.blocks} if blocks.split else {}
    return {
        "split": ends,
        "requests": {name: len(getattr(blocks, name)) for name in names},
        "features": {
            "of_a_sale": len(encoded.sales.fields),
            "of_a_member": len(encoded.members.fields),
            "share_a_row": round(encoded.collision_share, 6),
        },
        "notes": list(blocks.notes),
    }


def of_epoch(row: EpochRow) -> JSON:
    """Return one line of the learning curve."""
    return {
        "loss": row.loss,
        "val/ndcg_at_10": row.ndcg_at_10,
        "val/recall_at_10": row.recall_at_10,
        "best": row.best,
        "requests_per_second": row.requests_per_second,
        "seconds": row.seconds,
        "warning": row.warning,
    }


def of_validation(best: EpochRow, task: str) -> JSON:
    """Return the figure that chose the best epoch, and which one that is."""
    metric, value = best.headline(task)
    return {"metric": metric, "value": value, "epoch": best.epoch}


def of_results(report: Report, learned: Learned) -> JSON:
    """Return the table of the test: scorer -> metric -> value, low, high (95 % by member)."""
    test = learned.task.blocks.test
    where, metrics, order = shown(report)
    return {
        "first": day(int(test.at.min())),
        "last": day(int(test.at.max())),
        "requests": len(test),
        "slice": where,
        "scorers": {
            name: {
                metric: {"value": found.value, "low": found.low, "high": found.high}
                for metric in metrics
                if (found := report.scorers[name].get(where, {}).get(metric)) is not None
            }
            for name in order
        },
    }


def day(at: int) -> str:
    """Write UTC microseconds as a day, e.g. 2026-11-21."""
    return f"{utc_of(at):%Y-%m-%d}"
