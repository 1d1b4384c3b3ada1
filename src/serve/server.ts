import { randomUUID, timingSafeEqual, createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { z } from 'zod';
import type { Tokenizer } from '../data/index.js';
import { WorkError } from '../errors.js';
import { endTokens, type Model } from '../infer/index.js';
import type { ChoicePart } from './choice.js';
import { complete, encodePrompts, type FinishReason, type Served, type Usage } from './completion.js';
import { ProtocolError } from './errors.js';
import { beginEvents, readJson, sendError, sendEvent, sendJson } from './http.js';
import { parseCompletionRequest, type CompletionRequest } from './request.js';
import { Scheduler, type SchedulerOptions } from './scheduler.js';

export interface ServeOptions extends Partial<SchedulerOptions> {
  readonly model: Model;
  readonly tokenizer: Tokenizer;
  /** Name under which clients ask for the model. */
  readonly name: string;
  /** Address to listen on; this machine only where left out. */
  readonly host?: string | undefined;
  /** 0 takes any free port. */
  readonly port?: number | undefined;
  /** What clients have to send as `Authorization: Bearer ...`; anyone may ask where left out. */
  readonly token?: string | undefined;
  readonly maxLength?: number | undefined;
  readonly maxBodyBytes?: number | undefined;
  /** Seconds after which an unanswered request is given up. */
  readonly timeoutSeconds?: number | undefined;
  /** Called for failures that are ours. */
  readonly onFailure?: (error: unknown) => void;
}

export interface RunningServer {
  readonly url: string;
  /** Takes no new requests, answers those that are there (for `graceSeconds` at most), and gives memory back. */
  stop(graceSeconds?: number): Promise<void>;
}

const DEFAULTS = { host: '127.0.0.1', port: 8000, maxBodyBytes: 32 << 20, timeoutSeconds: 600, graceSeconds: 30 };
/** Time for a client to send a whole request, and its headers. */
const RECEIVE_MS = 60_000;
const HEADERS_MS = 10_000;

/**
 * Serves a model over the OpenAI completions protocol.
 *
 * @throws WorkError where the address cannot be listened on.
 */
export async function startServer(options: ServeOptions): Promise<RunningServer> {
  const app = new CompletionServer(options);
  const server = createServer((request, response) => void app.handle(request, response));
  server.requestTimeout = RECEIVE_MS;
  server.headersTimeout = HEADERS_MS;
  const host = options.host ?? DEFAULTS.host;
  try {
    await listen(server, host, options.port ?? DEFAULTS.port);
  } catch (error) {
    await app.close();
    throw new WorkError(`Cannot listen on ${host}:${options.port ?? DEFAULTS.port}: ${(error as Error).message}.`, {
      cause: error,
    });
  }
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${port}`,
    async stop(graceSeconds = DEFAULTS.graceSeconds) {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeIdleConnections();
      await app.drain(graceSeconds);
      server.closeAllConnections();
      await closed;
      await app.close();
    },
  };
}

const listen = (server: Server, host: string, port: number): Promise<void> =>
  new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve();
    });
  });

const tokenizeSchema = z.object({ prompt: z.string(), add_special_tokens: z.boolean().optional() });
const detokenizeSchema = z.object({ tokens: z.array(z.int().min(0)) });

/** Routes and answers; HTTP's server is the caller's. */
class CompletionServer {
  readonly #options: ServeOptions;
  readonly #served: Served;
  readonly #created = Math.floor(Date.now() / 1000);
  readonly #open = new Set<AbortController>();
  #draining = false;

  constructor(options: ServeOptions) {
    this.#options = options;
    const { model, tokenizer } = options;
    const maxLength = options.maxLength ?? model.config.max_position_embeddings;
    this.#served = {
      tokenizer,
      scheduler: new Scheduler(model, maxLength, {
        ...(options.cacheTokens === undefined ? {} : { cacheTokens: options.cacheTokens }),
        ...(options.mostWaiting === undefined ? {} : { mostWaiting: options.mostWaiting }),
      }),
      stopTokens: endTokens(model.config, tokenizer),
      vocabularySize: model.config.vocab_size,
    };
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const controller = new AbortController();
    this.#open.add(controller);
    response.once('close', () => controller.abort(new ProtocolError(499, 'the client has gone')));
    const seconds = this.#options.timeoutSeconds ?? DEFAULTS.timeoutSeconds;
    const timer = setTimeout(
      () => controller.abort(new ProtocolError(504, `not answered within ${seconds} seconds`)),
      1000 * seconds,
    );
    try {
      await this.#route(request, response, controller.signal);
    } catch (error) {
      if (!(error instanceof ProtocolError)) this.#options.onFailure?.(error);
      sendError(response, error, this.#draining);
    } finally {
      clearTimeout(timer);
      this.#open.delete(controller);
    }
  }

  /** Resolves when all open requests are answered, or given up after the grace. */
  async drain(graceSeconds: number): Promise<void> {
    this.#draining = true;
    const end = performance.now() + 1000 * graceSeconds;
    while (this.#open.size > 0 && performance.now() < end) await sleep(DRAIN_MS);
    for (const controller of this.#open) controller.abort(new ProtocolError(503, 'the server is stopping'));
    const last = performance.now() + LAST_MS;
    while (this.#open.size > 0 && performance.now() < last) await sleep(DRAIN_MS);
  }

  close(): Promise<void> {
    return this.#served.scheduler.close();
  }

  async #route(request: IncomingMessage, response: ServerResponse, signal: AbortSignal): Promise<void> {
    const path = (request.url ?? '/').replace(/\?.*$/, '');
    const route = `${request.method} ${path}`;
    if (route === 'GET /health') return sendJson(response, 200, { status: 'ok', ...this.#served.scheduler.load });
    this.#authorize(request);
    if (this.#draining) throw new ProtocolError(503, 'the server is stopping');
    switch (route) {
      case 'POST /v1/completions':
        return this.#complete(request, response, signal);
      case 'GET /v1/models':
        return sendJson(response, 200, { object: 'list', data: [this.#modelCard()] });
      case `GET /v1/models/${this.#options.name}`:
        return sendJson(response, 200, this.#modelCard());
      case 'GET /tokenizer_info':
        return sendJson(response, 200, this.#tokenizerInfo());
      case 'POST /tokenize':
        return sendJson(response, 200, this.#tokenize(await this.#body(request)));
      case 'POST /detokenize':
        return sendJson(response, 200, this.#detokenize(await this.#body(request)));
      default:
        throw new ProtocolError(404, `there is no ${route}; completions are POST /v1/completions`);
    }
  }

  #body(request: IncomingMessage): Promise<unknown> {
    return readJson(request, this.#options.maxBodyBytes ?? DEFAULTS.maxBodyBytes);
  }

  #authorize({ headers }: IncomingMessage): void {
    const { token } = this.#options;
    if (token === undefined) return;
    const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
    const given = /^Bearer (.*)$/i.exec(headers.authorization ?? '')?.[1] ?? '';
    if (!timingSafeEqual(digest(given), digest(token)))
      throw new ProtocolError(401, 'the bearer token is missing or wrong');
  }

  async #complete(request: IncomingMessage, response: ServerResponse, signal: AbortSignal): Promise<void> {
    const asked = parseCompletionRequest(await this.#body(request));
    const { name } = this.#options;
    if (asked.model !== undefined && asked.model !== name)
      throw new ProtocolError(404, `there is no model "${asked.model}" here, only "${name}"`, 'model');
    const prompts = encodePrompts(this.#served, asked);
    const envelope = {
      id: `cmpl-${randomUUID()}`,
      object: 'text_completion',
      created: Math.floor(Date.now() / 1000),
      model: name,
    };
    if (asked.stream) return this.#stream(envelope, asked, prompts, response, signal);
    const choices = await this.#collect(asked, prompts, signal);
    sendJson(response, 200, { ...envelope, ...choices });
  }

  async #collect(asked: CompletionRequest, prompts: readonly Int32Array[], signal: AbortSignal) {
    const choices: (ReturnType<typeof choiceOf> | undefined)[] = [];
    const part = (index: number, content: ChoicePart, reason: FinishReason | null): void => {
      choices[index] = choiceOf(index, content, reason);
    };
    const usage = await complete(this.#served, asked, prompts, { part }, signal);
    return { choices, usage };
  }

  async #stream(
    envelope: object,
    asked: CompletionRequest,
    prompts: readonly Int32Array[],
    response: ServerResponse,
    signal: AbortSignal,
  ): Promise<void> {
    beginEvents(response);
    const send = (choices: readonly unknown[], usage: Usage | null): void =>
      sendEvent(response, { ...envelope, choices, ...(asked.includeUsage ? { usage } : {}) });
    const part = (index: number, content: ChoicePart, reason: FinishReason | null): void =>
      send([choiceOf(index, content, reason)], null);
    const usage = await complete(this.#served, asked, prompts, { part }, signal);
    if (asked.includeUsage) send([], usage);
    sendEvent(response, '[DONE]');
    response.end();
  }

  #modelCard() {
    const { name } = this.#options;
    const { maxLength } = this.#served.scheduler;
    return { id: name, object: 'model', created: this.#created, owned_by: 'strata', max_model_len: maxLength };
  }

  #tokenizerInfo() {
    const { tokenizer } = this.#served;
    const name = (id: number | undefined): string | null =>
      id === undefined ? null : (tokenizer.idToToken(id) ?? null);
    return { eos_token: name(tokenizer.eosId), bos_token: name(tokenizer.bosId), pad_token: null };
  }

  #tokenize(body: unknown) {
    const parsed = tokenizeSchema.safeParse(body);
    if (!parsed.success) throw new ProtocolError(400, 'expected {"prompt": text}', 'prompt');
    const { prompt, add_special_tokens: addSpecialTokens = false } = parsed.data;
    const tokens = [...this.#served.tokenizer.encode(prompt, { addSpecialTokens })];
    return { tokens, count: tokens.length, max_model_len: this.#served.scheduler.maxLength };
  }

  #detokenize(body: unknown) {
    const parsed = detokenizeSchema.safeParse(body);
    if (!parsed.success) throw new ProtocolError(400, 'expected {"tokens": [ids]}', 'tokens');
    return { prompt: this.#served.tokenizer.decode(parsed.data.tokens) };
  }
}

const DRAIN_MS = 10;
const LAST_MS = 5000;
const sleep = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

const choiceOf = (index: number, { text, logprobs }: ChoicePart, reason: FinishReason | null) => ({
  index,
  text,
  logprobs,
  finish_reason: reason,
});
