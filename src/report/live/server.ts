import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { z } from 'zod';
import { WorkError } from '../../errors.js';
import { writeNotes } from '../notes.js';
import { renderPage } from '../page.js';
import { LiveState, type Compare } from './state.js';

export interface LiveServerOptions {
  /** Run folders, or folders with runs under them. */
  readonly roots: readonly string[];
  /** 0 takes any free port. */
  readonly port: number;
  readonly compare: Compare;
  readonly title: string;
}

/** A running live page. */
export interface LiveServer {
  readonly url: string;
  close(): Promise<void>;
}

const HOST = '127.0.0.1';
const LOOK_INTERVAL_MS = 1000;
const KEEP_ALIVE_MS = 15_000;
const MAX_NOTE_BYTES = 100_000;
const noteSchema = z.strictObject({ run: z.string(), notes: z.string() });

/**
 * Serves the report of runs that are being trained, with news over server-sent events.
 *
 * It listens on this machine only and answers only requests that name it so, which keeps other web pages from reading through it
 * (DNS rebinding). It reads records and writes nothing but notes.
 */
export async function startLiveServer(options: LiveServerOptions): Promise<LiveServer> {
  const state = new LiveState(options.roots, options.compare);
  state.refresh();
  const listeners = new Set<ServerResponse>();
  const server = createServer((request, response) => {
    answer(request, response, state, listeners, options.title).catch((error: unknown) => {
      if (!response.headersSent) response.writeHead(500);
      response.end(error instanceof Error ? error.message : String(error));
    });
  });
  await listen(server, options.port);
  const look = setInterval(() => {
    const message = state.refresh();
    if (message !== undefined) for (const listener of listeners) send(listener, message);
  }, LOOK_INTERVAL_MS);
  const keepAlive = setInterval(
    () => listeners.forEach((listener) => listener.write(': still here\n\n')),
    KEEP_ALIVE_MS,
  );
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : options.port;
  return {
    url: `http://${HOST}:${port}/`,
    close: () =>
      new Promise((resolve) => {
        clearInterval(look);
        clearInterval(keepAlive);
        for (const listener of listeners) listener.end();
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error) =>
      reject(new WorkError(`Port ${port} cannot be opened: ${error.message}.`, { cause: error })),
    );
    server.listen(port, HOST, () => resolve());
  });
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  state: LiveState,
  listeners: Set<ServerResponse>,
  title: string,
): Promise<void> {
  if (!isLocal(request.headers.host)) {
    response.writeHead(403).end('This page is for this machine only.');
    return;
  }
  const route = `${request.method} ${new URL(request.url ?? '/', `http://${HOST}`).pathname}`;
  if (route === 'GET /') {
    response.writeHead(200, { 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store' });
    response.end(renderPage(state.data, { title, live: 'events' }));
  } else if (route === 'GET /events') {
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
    listeners.add(response);
    request.on('close', () => listeners.delete(response));
    send(response, state.full());
  } else if (route === 'POST /notes') await takeNote(request, response, state);
  else response.writeHead(404).end('There is no such page.');
}

async function takeNote(request: IncomingMessage, response: ServerResponse, state: LiveState): Promise<void> {
  // Only scripts of this page can send this type without being asked first (CORS).
  if (request.headers['content-type'] !== 'application/json') {
    response.writeHead(415).end('expected application/json');
    return;
  }
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_NOTE_BYTES) {
      response.writeHead(413).end('The note is too long.');
      return;
    }
    chunks.push(chunk);
  }
  const note = noteSchema.safeParse(parseJson(Buffer.concat(chunks).toString()));
  if (!note.success || !state.has(note.data.run)) {
    response.writeHead(400).end('expected {"run": one of the runs, "notes": text}');
    return;
  }
  writeNotes(note.data.run, note.data.notes);
  response.writeHead(204).end();
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const isLocal = (host: string | undefined): boolean =>
  host !== undefined && /^(127\.0\.0\.1|localhost)(:\d+)?$/.test(host);

const send = (listener: ServerResponse, message: unknown): void => {
  listener.write(`event: data\ndata: ${JSON.stringify(message)}\n\n`);
};
