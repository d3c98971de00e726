"""Queries every route for what an SDK sent, and compares.

usage: check.py URL < SENT     (SENT is the JSON that send.py and send.mjs print)
"""

import datetime as dt
import json
import sys
import urllib.error
import urllib.request

URL = sys.argv[1]
SENT = json.load(sys.stdin)
SERVICE, SCOPE, SPANS = SENT["service"], SENT["scope"], SENT["spans"]
checks = 0


def check(what, actual, expected):
    global checks
    checks += 1
    if actual != expected:
        sys.exit(f"{SERVICE}: {what}\n  expected {expected!r}\n  found    {actual!r}")


def ask(path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{URL}/v1/telemetry{path}", data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def nanos(text):
    whole = dt.datetime.fromisoformat(text[:19] + "+00:00")
    return int(whole.timestamp()) * 10**9 + int(text[19:].strip(".Z").ljust(9, "0") or 0)


def of_sender(key, value, op="eq"):
    return [{"key": key, "op": op, "value": value}, {"key": "service_name", "op": "eq", "value": SERVICE}]


def compare(found, span):
    what = f"span {span['name']}"
    for key in ("trace_id", "span_id", "parent_span_id", "name", "status"):
        check(f"{what}: {key}", found[key], span[key])
    check(f"{what}: kind", found.get("kind", "internal"), span["kind"])
    check(f"{what}: service", found["service_name"], SERVICE)
    check(f"{what}: times", (nanos(found["start_time"]), nanos(found["end_time"])), (int(span["start"]), int(span["end"])))
    attributes = dict(found["attributes"])
    own = {key: attributes.pop(key) for key in span["attributes"] if key in attributes}
    check(f"{what}: attributes", own, span["attributes"])
    check(f"{what}: status description", attributes.pop("otel.status_description", None), span["status_description"] or None)
    check(f"{what}: links", len(json.loads(attributes.pop("otel.links", "[]"))), span["links"])
    check(f"{what}: scope", attributes.pop("otel.scope.name"), SCOPE)
    check(f"{what}: resource", (attributes["service.name"], attributes["deployment.environment"]), (SERVICE, "ci"))


check("spans", len(SPANS), 6)
for span in SPANS:
    found = ask(f"/traces/{span['trace_id']}/spans/{span['span_id']}")
    compare(found, span)
    events = [event for event in found["events"] if "message" not in event]
    check(f"events of {span['name']}", [event.get("name") for event in events], [event["name"] for event in span["events"]])

roots = [span for span in SPANS if span["parent_span_id"] is None]
for root in roots:
    trace_id = root["trace_id"]
    by_depth = lambda span: (span["parent_span_id"] is not None, int(span["start"]), span["span_id"])
    of_trace = sorted((span for span in SPANS if span["trace_id"] == trace_id), key=by_depth)
    trace = ask(f"/traces/{trace_id}")
    check("root", trace["root_span_id"], root["span_id"])
    check("end of the trace", nanos(trace["end_time"]), max(int(span["end"]) for span in of_trace))
    found = ask("/traces", {"attribute_filters": of_sender("session.id", root["attributes"]["session.id"])})
    check("trace found by an attribute", [trace["trace_id"] for trace in found["data"]], [trace_id])
    tree = ask(f"/spans/{root['span_id']}/tree", {})["data"]
    check("tree", list(tree), [span["span_id"] for span in of_trace])
    check("tree's statuses", [node["status"] for node in tree.values()], [span["status"] for span in of_trace])
    level = ask(f"/spans/{root['span_id']}/tree", {"max_depth": 1, "attributes_to_return": ["turn"]})["data"]
    check("tree of one level", level[root["span_id"]]["attributes"], {"turn": root["attributes"]["turn"]})

# Traces are found by GenAI attributes, resource attributes and built-in keys.
for filters in (
    of_sender("gen_ai.operation.name", "chat"), of_sender("gen_ai.usage.input_tokens", 11, "gt"),
    of_sender("deployment.environment", "ci"), of_sender("status", "error"), of_sender("kind", "server"),
    of_sender("name", "execute_tool search"), of_sender("stream", True),
):
    found = ask("/traces", {"attribute_filters": filters, "order_by": ["start_time"]})["data"]
    check(f"traces by {filters[0]['key']}", [trace["trace_id"] for trace in found], [root["trace_id"] for root in roots])
check("nothing is found by what was not sent", ask("/traces", {"attribute_filters": of_sender("session.id", "?")}), {"data": []})

found = ask("/spans", {"attribute_filters": of_sender("gen_ai.operation.name", "chat"),
                       "attributes_to_return": ["gen_ai.request.model"]})["data"]
chats = [span for span in SPANS if span["name"].startswith("chat")]
check("spans with a model", sorted(span["span_id"] for span in found), sorted(span["span_id"] for span in chats))

for log in SENT["logs"]:
    found = ask("/logs", {"trace_id": log["trace_id"], "min_severity": "verbose", "contains": log["message"]})["data"]
    check(f"log {log['message']}", [{key: item[key] for key in log} for item in found], [log])

LONG_AGO = 1_000_000_000
for metric in SENT["metrics"]:
    labels = {**metric["labels"], "service.name": SERVICE}
    matchers = [{"name": name, "value": value, "operator": "="} for name, value in labels.items()]
    for name in filter(None, (metric["name"], metric.get("also_as"))):
        query = {"start_time": LONG_AGO, "label_matchers": matchers}
        series = ask(f"/metrics/{name}", query)["data"]
        check(f"{name}: series", len(series), 1)
        check(f"{name}: name", series[0]["metric"], name)
        raw = [point["value"] for point in series[0]["values"]]
        if "raw" in metric:
            check(f"{name}: points", raw, metric["raw"])
        now = ask(f"/metrics/{name}", {**query, "query_type": "instant"})["data"][0]["values"][0]["value"]
        check(f"{name}: total", round(now, 9), metric.get("sum", metric.get("last")))

ledger = ask("/ledger")
check("nothing is refused", (ledger["ingest"]["refused_full"], ledger["assembler"]["refused"]), (0, 0))
print(f"{SERVICE}: {checks} checks")
