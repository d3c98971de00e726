"""Sends nested traces, metrics and logs with the official Python OpenTelemetry SDK, by protobuf with gzip.

usage: send.py URL

Sends what Llama Stack emits today: spans with GenAI attributes, and token counts as metrics. Halfway it
prints a line and waits for one, so that the server can be killed and started again. Its last line is
JSON: what it sent, as the SDK itself recorded it.
"""

import json
import logging
import sys

from opentelemetry import metrics, trace
from opentelemetry._logs import set_logger_provider
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

URL = sys.argv[1]
SERVICE = "python-llama-stack"
RESOURCE = Resource.create({"service.name": SERVICE, "deployment.environment": "ci"})
MODEL = "llama-3.2-3b"

# The SDKs export only in the flushes below.
AT_EXIT = {"shutdown_on_exit": False}
tracer_provider = TracerProvider(resource=RESOURCE, **AT_EXIT)
sent_spans = InMemorySpanExporter()
tracer_provider.add_span_processor(SimpleSpanProcessor(sent_spans))
tracer_provider.add_span_processor(
    BatchSpanProcessor(OTLPSpanExporter(f"{URL}/v1/traces", compression=Compression.Gzip)))
trace.set_tracer_provider(tracer_provider)

reader = PeriodicExportingMetricReader(
    OTLPMetricExporter(f"{URL}/v1/metrics", compression=Compression.Gzip), export_interval_millis=3_600_000)
views = [View(instrument_name="answer.length", aggregation=ExponentialBucketHistogramAggregation())]
meter_provider = MeterProvider(metric_readers=[reader], resource=RESOURCE, views=views, **AT_EXIT)
metrics.set_meter_provider(meter_provider)

logger_provider = LoggerProvider(resource=RESOURCE, **AT_EXIT)
logger_provider.add_log_record_processor(
    BatchLogRecordProcessor(OTLPLogExporter(f"{URL}/v1/logs", compression=Compression.Gzip)))
set_logger_provider(logger_provider)
log = logging.getLogger("llama_stack.core")
log.setLevel(logging.DEBUG)
handler = LoggingHandler(logger_provider=logger_provider)
log.addHandler(handler)
log.propagate = False

tracer = trace.get_tracer("llama_stack.telemetry", "1.0")
meter = metrics.get_meter("llama_stack.telemetry", "1.0")

tokens = meter.create_counter("llama_stack_tokens_total", unit="tokens")
running = meter.create_up_down_counter("running.turns", unit="{turn}")
duration = meter.create_histogram("gen_ai.client.operation.duration", unit="s")
length = meter.create_histogram("answer.length", unit="By")
load = meter.create_gauge("gpu.load", unit="1")
LABELS = {"model_id": MODEL, "provider_id": "ollama"}


def context_of(span):
    context = span.get_span_context()
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}


sent_logs = []


def turn(number):
    """One turn of an agent: chat, then a tool that fails."""
    earlier = SpanContext(0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331, True, TraceFlags(1))
    with tracer.start_as_current_span("create_agent_turn", kind=SpanKind.SERVER, links=[Link(earlier, {"why": "retry"})],
                                      attributes={"session.id": f"{SERVICE}-{number}", "turn": number}) as root:
        with tracer.start_as_current_span(f"chat {MODEL}", kind=SpanKind.CLIENT, attributes={
                "gen_ai.operation.name": "chat", "gen_ai.provider.name": "ollama", "gen_ai.request.model": MODEL,
                "gen_ai.request.temperature": 0.7, "gen_ai.usage.input_tokens": 12, "stream": True,
                "gen_ai.response.finish_reasons": ["stop", "length"]}) as chat:
            chat.add_event("first token", {"index": 0})
            log.warning("slow answer %d", number)
            sent_logs.append({**context_of(chat), "message": f"slow answer {number}", "severity": "warn"})
            chat.set_status(Status(StatusCode.OK))
        with tracer.start_as_current_span("execute_tool search", attributes={"gen_ai.tool.name": "search"}) as tool:
            tool.record_exception(ValueError("no such page"))
            tool.set_status(Status(StatusCode.ERROR, "no such page"))
        del root


turn(1)
tokens.add(5, LABELS)
tokens.add(7, {**LABELS, "model_id": "other"})
running.add(2)
for seconds in (0.03, 0.2, 7.0):
    duration.record(seconds, LABELS)
for size in (1, 3, 1000):
    length.record(size)
load.set(0.25)
# Each is stored before the server is killed.
assert meter_provider.force_flush() and tracer_provider.force_flush() and logger_provider.force_flush()
print("kill the server now", flush=True)
sys.stdin.readline()

turn(2)
tokens.add(3, LABELS)
running.add(-1)
duration.record(0.2, LABELS)
length.record(3)
load.set(0.75)
assert meter_provider.force_flush() and tracer_provider.force_flush() and logger_provider.force_flush()
# Everything is flushed. When the interpreter exits the handler could not start a thread for another flush.
handler.flush = lambda: None


def value(attribute):
    """Returns the value as the server does: lists as JSON text."""
    return json.dumps(list(attribute), separators=(",", ":")) if isinstance(attribute, tuple) else attribute


def span_json(span):
    return {
        **context_of(span), "parent_span_id": f"{span.parent.span_id:016x}" if span.parent else None,
        "name": span.name, "kind": span.kind.name.lower(), "start": span.start_time, "end": span.end_time,
        "status": {"OK": "ok", "ERROR": "error", "UNSET": None}[span.status.status_code.name],
        "status_description": span.status.description,
        "attributes": {key: value(item) for key, item in span.attributes.items()},
        "events": [{"name": event.name, "time": event.timestamp, "attributes": dict(event.attributes)}
                   for event in span.events],
        "links": len(span.links),
    }


print(json.dumps({
    "service": SERVICE,
    "scope": "llama_stack.telemetry",
    "spans": [span_json(span) for span in sent_spans.get_finished_spans()],
    "logs": sent_logs,
    "metrics": [
        {"name": "llama_stack_tokens_total", "labels": LABELS, "sum": 8, "raw": [5, 3], "also_as": "total_tokens"},
        {"name": "llama_stack_tokens_total", "labels": {"model_id": "other"}, "sum": 7, "raw": [7, 0]},
        {"name": "running.turns", "labels": {}, "sum": 1, "raw": [2, -1]},
        {"name": "gpu.load", "labels": {}, "last": 0.75, "raw": [0.25, 0.75]},
        {"name": "gen_ai.client.operation.duration_count", "labels": LABELS, "sum": 4},
        {"name": "gen_ai.client.operation.duration_sum", "labels": LABELS, "sum": 7.43},
        {"name": "gen_ai.client.operation.duration_bucket", "labels": {"le": "+Inf"}, "sum": 4},
        {"name": "gen_ai.client.operation.duration_bucket", "labels": {"le": "5"}, "sum": 3},
        {"name": "answer.length_count", "labels": {}, "sum": 4},
        {"name": "answer.length_sum", "labels": {}, "sum": 1007},
    ],
}))
