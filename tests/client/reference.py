"""Runs the reference's own query code on the file it wrote, and on ours after an import of that file.

    usage: reference.py REFERENCE_DB OUR_DB URL

Needs llama-stack 0.2.20 (installed without its dependencies), aiosqlite, pydantic and jsonschema. Both files must
give the same answers, and so must our HTTP API wherever the reference is right.
"""

import asyncio
import importlib.util
import json
import pathlib
import sqlite3
import sys
import types
import urllib.request
from datetime import UTC, datetime, timedelta

# The package's own __init__ loads the whole distribution, which its query code does not need.
package = types.ModuleType("llama_stack")
package.__path__ = [str(pathlib.Path(importlib.util.find_spec("llama_stack").origin).parent)]
sys.modules["llama_stack"] = package

from llama_stack.apis.telemetry import (  # noqa: E402
    MetricLabelMatcher,
    MetricLabelOperator,
    MetricQueryType,
    QueryCondition,
    QueryConditionOp,
)
from llama_stack.providers.utils.telemetry.sqlite_trace_store import SQLiteTraceStore  # noqa: E402

REFERENCE_DB, OUR_DB, URL = sys.argv[1:]
theirs, ours = SQLiteTraceStore(REFERENCE_DB), SQLiteTraceStore(OUR_DB)
ALL = 100_000
# Keys that stand for fields of a span if it has no attribute of that name. Llama Stack has no such keys.
BUILT_IN = {"name", "status", "kind", "service_name", "duration_ms", "span_id", "trace_id"}
checks = 0


def same(left, right, what):
    global checks
    checks += 1
    if left != right:
        # Prints only the differences of lists and sets.
        lists = isinstance(left, list) and isinstance(right, list)
        only = lambda some, others: [item for item in some if item not in others]  # noqa: E731
        left, right = (only(left, right), only(right, left)) if lists else (left, right)
        left, right = (left - right, right - left) if isinstance(left, set) else (left, right)
        sys.exit(f"{what}:\n  the reference: {str(left)[:2000]}\n  ours:          {str(right)[:2000]}")


def http(path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(URL + "/v1/telemetry" + path, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def time(value):
    return value if value is None or isinstance(value, datetime) else datetime.fromisoformat(value)


def trace(value):
    value = value if isinstance(value, dict) else value.model_dump()
    return (value["trace_id"], value["root_span_id"], time(value["start_time"]), time(value["end_time"]))


def span(value):
    value = value if isinstance(value, dict) else value.model_dump(mode="json")
    names = ("span_id", "trace_id", "parent_span_id", "name", "attributes", "status")
    return {name: value[name] for name in names} | {n: time(value[n]) for n in ("start_time", "end_time")}


def conditions():
    """Yields every operator on every kind of value. The reference puts keys into SQL, so only plain keys are used."""
    rows = sqlite3.connect(REFERENCE_DB).execute(
        "SELECT DISTINCT key, type, atom FROM spans, json_each(attributes) WHERE key NOT GLOB '*[^a-z_0-9]*'"
    )
    seen = {}
    for key, kind, atom in rows:
        if kind in ("text", "integer", "real") and seen.get((key, kind), 0) < 3:
            seen[key, kind] = seen.get((key, kind), 0) + 1
            yield key, "eq", atom
            yield key, "ne", atom
            if kind != "text":
                yield key, "gt", atom - 1
                yield key, "lt", atom + 1
    yield "session_id", "eq", "nowhere"


async def traces():
    # Only our file lists traces in which no span has the reference's marker of a root.
    listed = {trace(t) for t in await theirs.query_traces(limit=ALL)}
    rootless = {row[0] for row in sqlite3.connect(REFERENCE_DB).execute("SELECT trace_id FROM traces WHERE root_span_id IS NULL")}
    known = lambda found: {t for t in found if t[0] not in rootless}  # noqa: E731
    same(listed, known(map(trace, await ours.query_traces(limit=ALL))), "all traces")
    same(listed, known(map(trace, http("/traces", {"limit": -1})["data"])), "all traces by HTTP")
    for key, op, value in conditions():
        condition = [QueryCondition(key=key, op=QueryConditionOp(op), value=value)]
        found = {trace(t) for t in await theirs.query_traces(condition, limit=ALL)}
        what = f"{key} {op} {value!r}"
        same(found, known(map(trace, await ours.query_traces(condition, limit=ALL))), what)
        if key in BUILT_IN:
            continue
        body = {"attribute_filters": [{"key": key, "op": op, "value": value}], "limit": -1}
        same(found, known(map(trace, http("/traces", body)["data"])), what + " by HTTP")
    for order in (["start_time"], ["-start_time"], ["end_time", "trace_id"]):
        expected = [t for t in map(trace, await theirs.query_traces(limit=ALL, order_by=order))]
        found = map(trace, await ours.query_traces(limit=ALL, order_by=order))
        same(expected, [t for t in found if t[0] not in rootless], f"in order {order}")
        found = map(trace, http("/traces", {"limit": -1, "order_by": order})["data"])
        same(expected, [t for t in found if t[0] not in rootless], f"in order {order} by HTTP")
    return listed


async def trees(listed):
    several = "SELECT trace_id FROM spans GROUP BY trace_id HAVING count(*) > 1"
    several = {row[0] for row in sqlite3.connect(REFERENCE_DB).execute(several)}
    # Most traces are a single span of the same kind, so a sample is enough.
    some = set(sorted(listed)[::15]) | {t for t in listed if t[0] in several}
    for trace_id, root, start, end in some:
        same(trace(await theirs.get_trace(trace_id)), trace(await ours.get_trace(trace_id)), trace_id)
        same((trace_id, root, start, end), trace(http(f"/traces/{trace_id}")), f"{trace_id} by HTTP")
        for arguments in ({}, {"max_depth": 1}, {"attributes_to_return": ["session_id", "n"]}):
            expected = await theirs.get_span_tree(root, **arguments)
            found = await ours.get_span_tree(root, **arguments)
            expected = [span(s) for s in expected.values()]
            same(expected, [span(s) for s in found.values()], f"tree of {root} {arguments}")
            found = http(f"/spans/{root}/tree", arguments)["data"].values()
            same(expected, [span(s) for s in found], f"tree of {root} {arguments} by HTTP")


async def metrics():
    names = [row[0] for row in sqlite3.connect(REFERENCE_DB).execute("SELECT DISTINCT substr(name, 8) FROM span_events WHERE name LIKE 'metric.%'")]
    assert names
    start, end = datetime.now(UTC) - timedelta(days=3_650), datetime.now(UTC) + timedelta(days=3_650)
    matchers = [None] + [
        [MetricLabelMatcher(name="model_id", value="m1", operator=op)]
        for op in (MetricLabelOperator.EQUALS, MetricLabelOperator.NOT_EQUALS, MetricLabelOperator.REGEX_MATCH)
    ]

    def points(response):
        # The reference mixes the labels of all series, in the order of the rows.
        return [(sorted((p.timestamp, p.value, p.unit) for p in s.values), sorted(map(str, s.labels))) for s in response.data]

    def moments(response):
        # The time of an instant query is the moment of the query.
        return [sorted((p.value, p.unit) for p in s.values) for s in response.data]

    for name in names:
        for matcher in matchers:
            for granularity in (None, "1m", "1h", "1d"):
                asked = dict(end_time=end, granularity=granularity, label_matchers=matcher)
                expected = points(await theirs.query_metrics(name, start, **asked))
                same(expected, points(await ours.query_metrics(name, start, **asked)), f"{name} {asked}")
            asked = dict(end_time=end, query_type=MetricQueryType.INSTANT, label_matchers=matcher)
            expected = moments(await theirs.query_metrics(name, start, **asked))
            same(expected, moments(await ours.query_metrics(name, start, **asked)), f"{name} at an instant")
        raw = await theirs.query_metrics(name, start, end_time=end)
        expected = sorted((p.timestamp, p.value, p.unit) for s in raw.data for p in s.values)
        window = {"start_time": int(start.timestamp()), "end_time": int(end.timestamp())}
        found = http(f"/metrics/{name}", window)["data"]
        found = sorted((p["timestamp"], p["value"], p["unit"]) for s in found for p in s["values"])
        same(expected, found, f"{name} by HTTP, all series together")


async def main():
    listed = await traces()
    await trees(listed)
    await metrics()
    print(f"{checks} answers are the same")


asyncio.run(main())
