import type { IncomingMessage, ServerResponse } from 'node:http';
import { ProtocolError, errorBody } from './errors.js';

/**
 * The JSON body of a request.
 *
 * @throws ProtocolError where it is no JSON, is declared as something else, or has more than `maxBytes`.
 */
export async function readJson(request: IncomingMessage, maxBytes: number): Promise<unknown> {
  const type = request.headers['content-type'] ?? '';
  // Also keeps web pages out: browsers send other types to foreign servers without asking them.
  if (!/^application\/json\b/i.test(type))
    throw new ProtocolError(415, `expected the content type application/json, found "${type}"`);
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > maxBytes) throw new ProtocolError(413, `the request has more than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8')) as unknown;
  } catch {
    throw new ProtocolError(400, 'the request is no JSON');
  }
}

export function sendJson(response: ServerResponse, status: number, body: unknown): void {
  if (response.headersSent || response.destroyed) return;
  const text = JSON.stringify(body);
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
  response.end(text);
}

/** Answers with an error: as JSON, or as the last event of a stream that has begun. */
export function sendError(response: ServerResponse, error: unknown, close = false): void {
  const known = error instanceof ProtocolError ? error : new ProtocolError(500, 'the server failed at this request');
  if (response.headersSent) {
    sendEvent(response, errorBody(known));
    response.end();
    return;
  }
  // What is left of the body is not read, so the connection cannot be used again.
  if (close || known.status === 413) response.setHeader('connection', 'close');
  sendJson(response, known.status, errorBody(known));
}

/** Begins a stream of server-sent events. */
export function beginEvents(response: ServerResponse): void {
  response.writeHead(200, {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-cache',
    connection: 'keep-alive',
  });
}

export function sendEvent(response: ServerResponse, data: unknown): void {
  if (!response.destroyed) response.write(`data: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`);
}
