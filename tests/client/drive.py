"""Drives the real llama-stack-client through every telemetry call and checks the answers.

usage: drive.py URL before|after DATASETS

`before` logs a nested trace and queries it; `after`, run against a restarted server, finds it
again and ends the span that was left open. DATASETS is the folder the server exports to.
"""

import datetime as dt
import json
import sys

import llama_stack_client
from llama_stack_client import APIStatusError, LlamaStackClient

URL, PHASE, DATASETS = sys.argv[1:]
client = LlamaStackClient(base_url=URL, max_retries=0)
telemetry = client.telemetry
# Clients 0.3.x have no log_event. The server still has the route, under the prefix they use.
HAS_LOG_EVENT = hasattr(telemetry, "log_event")

# Each client version logs a trace of its own into the same server.
VERSION = "".join(c for c in llama_stack_client.__version__ if c.isdigit())
TRACE = f"{int(VERSION):08x}" + "0af7651916cd43dd8448eb21"
LEFT_OPEN = f"{int(VERSION):08x}" + "ffffffffffffffffffffffff"
ROOT, CHILD1, CHILD2, GRANDCHILD = (f"aaaaaaaaaaaaaaa{n}" for n in "1234")
SESSION = f"session-{VERSION}"
MODEL = f"model-{VERSION}"
T0 = dt.datetime(2025, 8, 29, 12, 0, 0, 123456, tzinfo=dt.timezone.utc)
SEVERITIES = ["verbose", "debug", "info", "warn", "error", "critical"]

checks = 0


def check(what, actual, expected):
    global checks
    checks += 1
    if actual != expected:
        sys.exit(f"{llama_stack_client.__version__}: {what}\n  expected {expected!r}\n  found    {actual!r}")


def at(seconds):
    return T0 + dt.timedelta(seconds=seconds)


def log_event(event):
    event["timestamp"] = event["timestamp"].isoformat()
    if HAS_LOG_EVENT:
        return telemetry.log_event(event=event, ttl_seconds=3600)
    return client.post("/v1alpha/telemetry/events", cast_to=object, body={"event": event, "ttl_seconds": 3600})


def start(trace, span, name, seconds, parent=None, **attributes):
    payload = {"type": "span_start", "name": name}
    if parent:
        payload["parent_span_id"] = parent
    log_event({"type": "structured_log", "trace_id": trace, "span_id": span, "timestamp": at(seconds),
               "attributes": attributes, "payload": payload})


def end(trace, span, seconds, status="ok", **attributes):
    log_event({"type": "structured_log", "trace_id": trace, "span_id": span, "timestamp": at(seconds),
               "attributes": attributes, "payload": {"type": "span_end", "status": status}})


def log(span, seconds, severity, message):
    log_event({"type": "unstructured_log", "trace_id": TRACE, "span_id": span, "timestamp": at(seconds),
               "message": message, "severity": severity, "attributes": {"idx": SEVERITIES.index(severity)}})


def metric(name, value, unit, seconds, span=CHILD1, model=MODEL):
    log_event({"type": "metric", "trace_id": TRACE, "span_id": span, "timestamp": at(seconds),
               "metric": name, "value": value, "unit": unit,
               "attributes": {"model_id": model, "provider_id": "p1"}})


def rejected(call, *args, **kwargs):
    """Returns the status of a call that must fail."""
    try:
        call(*args, **kwargs)
    except APIStatusError as error:
        return error.status_code
    return None


def log_everything():
    start(TRACE, ROOT, "root", 0, session_id=SESSION, n=7, f=1.25, flag=True, nil=None,
          **{"dotted.key": "dv", "quote'key": "qv", "uni": "żółć 🦙", "__root__": True})
    start(TRACE, CHILD1, "child1", 1, parent=ROOT, input="hello", kind="llm")
    start(TRACE, CHILD2, "child2", 2, parent=ROOT)
    start(TRACE, GRANDCHILD, "grandchild", 3, parent=CHILD1, input="deep")
    for number, severity in enumerate(SEVERITIES):
        log(GRANDCHILD, 3 + number / 10, severity, f"message {severity}")
    metric("prompt_tokens", 42, "tokens", 4)
    metric("prompt_tokens", 10, "tokens", 5)
    metric("prompt_tokens", 5, "tokens", 3700)
    metric("prompt_tokens", 1000, "tokens", 4, model=f"other-{VERSION}")
    metric(f"latency_{VERSION}", 0.25, "s", 4)
    metric(f"latency_{VERSION}", 0.75, "s", 5)
    end(TRACE, GRANDCHILD, 6, output="done")
    end(TRACE, CHILD1, 7, output="world")
    end(TRACE, CHILD2, 8, status="error", error="boom")
    end(TRACE, ROOT, 9, final=1)
    start(LEFT_OPEN, ROOT, "left open", 20, session_id=f"open-{VERSION}", state="started")


def where(key, op, value):
    return {"key": key, "op": op, "value": value}


def traces(*filters, **options):
    return [trace.trace_id for trace in telemetry.query_traces(attribute_filters=list(filters), **options)]


def query_traces():
    by_session = where("session_id", "eq", SESSION)
    check("by session", traces(by_session), [TRACE])
    check("two filters on one span", traces(by_session, where("n", "gt", 6)), [TRACE])
    check("no match", traces(by_session, where("n", "lt", 7)), [])
    check("7 equals 7.0", traces(by_session, where("n", "eq", 7.0)), [TRACE])
    check("ne needs the key", traces(by_session, where("missing", "ne", 1)), [])
    check("null is a value", traces(by_session, where("nil", "eq", None)), [TRACE])
    check("odd keys", traces(where("quote'key", "eq", "qv"), where("dotted.key", "eq", "dv"), by_session), [TRACE])
    check("a child's status", traces(where("status", "eq", "error"), where("error", "eq", "boom"), where("trace_id", "eq", TRACE)), [TRACE])
    newest = traces(order_by=["-start_time"], limit=1000)
    check("oldest first is newest first reversed", traces(order_by=["start_time", "trace_id"], limit=1000), newest[::-1])
    check("pages don't overlap", [traces(order_by=["-start_time"], limit=1, offset=i) for i in range(2)],
          [[trace] for trace in newest[:2]])
    check("an unknown order", rejected(traces, order_by=["start_time; drop table traces"]), 400)
    check("an unknown op", rejected(traces, where("n", "like", 1)), 400)


def get_trace_and_spans():
    trace = telemetry.get_trace(TRACE)
    check("trace", (trace.trace_id, trace.root_span_id, trace.start_time, trace.end_time), (TRACE, ROOT, at(0), at(9)))
    root = telemetry.get_span(ROOT, trace_id=TRACE)
    check("root span", (root.span_id, root.trace_id, root.parent_span_id, root.name, root.start_time, root.end_time),
          (ROOT, TRACE, None, "root", at(0), at(9)))
    check("attributes as sent", root.attributes,
          {"session_id": SESSION, "n": 7, "f": 1.25, "flag": True, "nil": None, "dotted.key": "dv",
           "quote'key": "qv", "uni": "żółć 🦙", "__root__": True, "final": 1})
    grandchild = telemetry.get_span(GRANDCHILD, trace_id=TRACE)
    events = [(event["severity"], event["message"]) for event in grandchild.to_dict()["events"]]
    check("logs of all severities", events, [(severity, f"message {severity}") for severity in SEVERITIES])
    check("a missing trace", rejected(telemetry.get_trace, "f" * 32), 404)
    check("a malformed trace id", rejected(telemetry.get_trace, "not-hex"), 400)
    check("a missing span", rejected(telemetry.get_span, "00000000000000ab", trace_id=TRACE), 404)


def get_span_tree():
    tree = telemetry.get_span_tree(ROOT, extra_body={"trace_id": TRACE})
    check("tree order", list(tree), [ROOT, CHILD1, CHILD2, GRANDCHILD])
    check("tree status", [span.status for span in tree.values()], ["ok", "ok", "error", "ok"])
    check("end wins", tree[CHILD1].attributes, {"input": "hello", "kind": "llm", "output": "world"})
    two = telemetry.get_span_tree(ROOT, max_depth=2, attributes_to_return=["input"], extra_body={"trace_id": TRACE})
    check("two levels", list(two), [ROOT, CHILD1, CHILD2])
    check("only the attribute asked for", [span.attributes for span in two.values()],
          [{"input": None}, {"input": "hello"}, {"input": None}])
    check("a missing span", rejected(telemetry.get_span_tree, "00000000000000ab"), 404)


def query_spans():
    spans = telemetry.query_spans(attribute_filters=[where("session_id", "eq", SESSION)], attributes_to_return=["input"])
    check("spans that carry input", [(span.name, span.trace_id, span.attributes) for span in spans],
          [("child1", TRACE, {"input": "hello"}), ("grandchild", TRACE, {"input": "deep"})])
    shallow = telemetry.query_spans(attribute_filters=[where("session_id", "eq", SESSION)],
                                    attributes_to_return=["input"], max_depth=2)
    check("down to level 2", [span.name for span in shallow], ["child1"])


def series(name, query_type="range", **options):
    start_time = int(T0.timestamp())
    answer = telemetry.query_metrics(name, query_type=query_type, start_time=start_time, end_time=start_time + 7200, **options)
    return [({label.name: label.value for label in one.labels}, [(point.timestamp - start_time, point.value, point.unit) for point in one.values])
            for one in answer]


def query_metrics():
    mine = {"name": "model_id", "operator": "=", "value": MODEL}
    both = {"name": "model_id", "operator": "=~", "value": f"(model|other)-{VERSION}"}
    labels = {"model_id": MODEL, "provider_id": "p1"}
    check("raw points", series("prompt_tokens", label_matchers=[mine]),
          [(labels, [(4, 42, "tokens"), (5, 10, "tokens"), (3700, 5, "tokens")])])
    check("one hour steps", series("prompt_tokens", label_matchers=[mine], granularity="1h"),
          [(labels, [(0, 52, "tokens"), (3600, 5, "tokens")])])
    check("instant", series("prompt_tokens", "instant", label_matchers=[mine]), [(labels, [(7200, 57, "tokens")])])
    check("the exported name is the same series", series("llama_stack_prompt_tokens_total", "instant", label_matchers=[mine]),
          [(labels, [(7200, 57, "tokens")])])
    check("one series per label set", sorted(points[0][1] for _, points in series("prompt_tokens", "instant", label_matchers=[both])), [57, 1000])
    check("not matching", series("prompt_tokens", label_matchers=[mine, {"name": "model_id", "operator": "!~", "value": "model.*"}]), [])
    check("a gauge takes the last", series(f"latency_{VERSION}", "instant"), [(labels, [(7200, 0.75, "s")])])
    check("an unknown metric", series("nope"), [])
    check("a bad expression", rejected(series, "prompt_tokens", label_matchers=[{"name": "a", "operator": "=~", "value": "x("}]), 400)


def export():
    mine = {"attribute_filters": [where("session_id", "eq", SESSION)], "attributes_to_save": ["input"]}
    dataset = f"{PHASE}-{VERSION}"
    for _ in range(2):
        check("export", telemetry.save_spans_to_dataset(dataset_id=dataset, **mine), None)
    with open(f"{DATASETS}/{dataset}.jsonl", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    check("twice the spans that carry input", [(row["name"], row["input"], row["trace_id"]) for row in rows],
          [("child1", "hello", TRACE), ("grandchild", "deep", TRACE)] * 2)
    check("a row's fields", list(rows[0]), ["trace_id", "span_id", "parent_span_id", "name", "start_time", "end_time", "input"])
    check("a name that leads elsewhere", rejected(telemetry.save_spans_to_dataset, dataset_id="../elsewhere", **mine), 400)


if PHASE == "before":
    log_everything()
query_traces()
get_trace_and_spans()
get_span_tree()
query_spans()
query_metrics()
export()
left_open = telemetry.get_span(ROOT, trace_id=LEFT_OPEN)
check("an open span has no end", (left_open.name, left_open.start_time, left_open.end_time), ("left open", at(20), None))
if PHASE == "after":
    end(LEFT_OPEN, ROOT, 30, state="ended")
    whole = telemetry.get_span(ROOT, trace_id=LEFT_OPEN)
    check("whole after a restart", (whole.start_time, whole.end_time, whole.attributes),
          (at(20), at(30), {"session_id": f"open-{VERSION}", "state": "ended"}))
print(f"llama-stack-client {llama_stack_client.__version__}, {PHASE} the restart: {checks} checks passed")
