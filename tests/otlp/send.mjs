// Sends nested traces, metrics and logs with the official JavaScript OpenTelemetry SDK.
//
// usage: node send.mjs URL json|protobuf
//
// Halfway it prints a line and waits for one, so that the server can be killed and started again.
// Its last line is JSON: what it sent, as the SDK itself recorded it.

import { createInterface } from 'node:readline/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';

// The packages are in the current folder.
const require = createRequire(join(process.cwd(), 'package.json'));
const { context, SpanKind, SpanStatusCode, trace, TraceFlags } = require('@opentelemetry/api');
const { SeverityNumber } = require('@opentelemetry/api-logs');
const { resourceFromAttributes } = require('@opentelemetry/resources');
const { BatchLogRecordProcessor, LoggerProvider } = require('@opentelemetry/sdk-logs');
const { AggregationType, MeterProvider, PeriodicExportingMetricReader } = require('@opentelemetry/sdk-metrics');
const { BatchSpanProcessor, InMemorySpanExporter, NodeTracerProvider, SimpleSpanProcessor } =
  require('@opentelemetry/sdk-trace-node');

const [url, encoding] = process.argv.slice(2);
const kind = encoding === 'json' ? 'http' : 'proto';
const { OTLPTraceExporter } = require(`@opentelemetry/exporter-trace-otlp-${kind}`);
const { OTLPMetricExporter } = require(`@opentelemetry/exporter-metrics-otlp-${kind}`);
const { OTLPLogExporter } = require(`@opentelemetry/exporter-logs-otlp-${kind}`);

const service = `javascript-${encoding}`;
const model = 'llama-3.2-3b';
const resource = resourceFromAttributes({ 'service.name': service, 'deployment.environment': 'ci' });

const sentSpans = new InMemorySpanExporter();
const tracerProvider = new NodeTracerProvider({
  resource,
  spanProcessors: [
    new SimpleSpanProcessor(sentSpans),
    new BatchSpanProcessor(new OTLPTraceExporter({ url: `${url}/v1/traces` })),
  ],
});
tracerProvider.register();
const reader = new PeriodicExportingMetricReader({
  exporter: new OTLPMetricExporter({ url: `${url}/v1/metrics` }),
  exportIntervalMillis: 3_600_000,
});
const meterProvider = new MeterProvider({
  resource,
  readers: [reader],
  views: [{ instrumentName: 'answer.length', aggregation: { type: AggregationType.EXPONENTIAL_HISTOGRAM } }],
});
const loggerProvider = new LoggerProvider({
  resource,
  processors: [new BatchLogRecordProcessor({ exporter: new OTLPLogExporter({ url: `${url}/v1/logs` }) })],
});

const tracer = trace.getTracer('my-agent', '1.0');
const meter = meterProvider.getMeter('my-agent', '1.0');
const logger = loggerProvider.getLogger('my-agent', '1.0');
const tokens = meter.createCounter('llama_stack_tokens_total', { unit: 'tokens' });
const running = meter.createUpDownCounter('running.turns', { unit: '{turn}' });
const duration = meter.createHistogram('gen_ai.client.operation.duration', { unit: 's' });
const length = meter.createHistogram('answer.length', { unit: 'By' });
const load = meter.createGauge('gpu.load', { unit: '1' });
const labels = { model_id: model, provider_id: encoding };
const sentLogs = [];

function idsOf(span) {
  const { traceId, spanId } = span.spanContext();
  return { trace_id: traceId, span_id: spanId };
}

/** One turn of an agent: chat, then a tool that fails. */
function turn(number) {
  const earlier = {
    traceId: '0af7651916cd43dd8448eb211c80319c', spanId: 'b7ad6b7169203331', traceFlags: TraceFlags.SAMPLED,
  };
  const attributes = { 'session.id': `${service}-${number}`, turn: number };
  const links = [{ context: earlier, attributes: { why: 'retry' } }];
  tracer.startActiveSpan('create_agent_turn', { kind: SpanKind.SERVER, attributes, links }, root => {
    const attributes = {
      'gen_ai.operation.name': 'chat', 'gen_ai.request.model': model, 'gen_ai.request.temperature': 0.7,
      'gen_ai.usage.input_tokens': 12, stream: true, 'gen_ai.response.finish_reasons': ['stop', 'length'],
    };
    tracer.startActiveSpan(`chat ${model}`, { kind: SpanKind.CLIENT, attributes }, chat => {
      chat.addEvent('first token', { index: 0 });
      const message = `slow answer ${number}`;
      logger.emit({ severityNumber: SeverityNumber.WARN, severityText: 'WARN', body: message, context: context.active() });
      sentLogs.push({ ...idsOf(chat), message, severity: 'warn' });
      chat.setStatus({ code: SpanStatusCode.OK });
      chat.end();
    });
    tracer.startActiveSpan('execute_tool search', { attributes: { 'gen_ai.tool.name': 'search' } }, tool => {
      tool.recordException(new Error('no such page'));
      tool.setStatus({ code: SpanStatusCode.ERROR, message: 'no such page' });
      tool.end();
    });
    root.end();
  });
}

async function flush() {
  await meterProvider.forceFlush();
  await tracerProvider.forceFlush();
  await loggerProvider.forceFlush();
}

turn(1);
tokens.add(5, labels);
tokens.add(7, { ...labels, model_id: 'other' });
running.add(2);
for (const seconds of [0.03, 0.2, 7]) duration.record(seconds, labels);
for (const size of [1, 3, 1000]) length.record(size);
load.record(0.25);
await flush();
console.log('kill the server now');
const input = createInterface({ input: process.stdin });
await input.question('');
input.close();

turn(2);
tokens.add(3, labels);
running.add(-1);
duration.record(0.2, labels);
length.record(3);
load.record(0.75);
await flush();

const text = time => String(BigInt(time[0]) * 1_000_000_000n + BigInt(time[1]));
const value = attribute => (Array.isArray(attribute) ? JSON.stringify(attribute) : attribute);
const all = attributes => Object.fromEntries(Object.entries(attributes).map(([key, item]) => [key, value(item)]));
const statuses = [null, 'ok', 'error'];

const spans = sentSpans.getFinishedSpans().map(span => ({
  ...idsOf(span),
  parent_span_id: span.parentSpanContext?.spanId ?? null,
  name: span.name,
  kind: SpanKind[span.kind].toLowerCase(),
  start: text(span.startTime),
  end: text(span.endTime),
  status: statuses[span.status.code],
  status_description: span.status.message ?? null,
  attributes: all(span.attributes),
  events: span.events.map(event => ({ name: event.name, time: text(event.time), attributes: all(event.attributes) })),
  links: span.links.length,
}));
const metrics = [
  { name: 'llama_stack_tokens_total', labels, sum: 8, raw: [5, 3], also_as: 'total_tokens' },
  { name: 'llama_stack_tokens_total', labels: { ...labels, model_id: 'other' }, sum: 7, raw: [7, 0] },
  { name: 'running.turns', labels: {}, sum: 1, raw: [2, -1] },
  { name: 'gpu.load', labels: {}, last: 0.75, raw: [0.25, 0.75] },
  { name: 'gen_ai.client.operation.duration_count', labels, sum: 4 },
  { name: 'gen_ai.client.operation.duration_sum', labels, sum: 7.43 },
  { name: 'gen_ai.client.operation.duration_bucket', labels: { le: '+Inf' }, sum: 4 },
  { name: 'gen_ai.client.operation.duration_bucket', labels: { le: '5' }, sum: 3 },
  { name: 'answer.length_count', labels: {}, sum: 4 },
  { name: 'answer.length_sum', labels: {}, sum: 1007 },
];
console.log(JSON.stringify({ service, scope: 'my-agent', spans, logs: sentLogs, metrics }));
