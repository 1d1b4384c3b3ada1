import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { request as httpRequest } from 'node:http';
import { fixtures } from '../../test/support/harness-reference.js';
import { loadTokenizer, type Tokenizer } from '../data/index.js';
import { counters } from '../engine/buffers.js';
import { generate, type LoadedModel, loadModel } from '../infer/index.js';
import { type RunningServer, type ServeOptions, startServer } from './server.js';

/** The worked example gives six digits. */
const TOLERANCE = 2e-6;

const folder = `${fixtures}models/stories260K`;
const before = counters();
let model: LoadedModel;
let tokenizer: Tokenizer;
let server: RunningServer;

const start = (options: Partial<ServeOptions> = {}): Promise<RunningServer> =>
  startServer({
    model,
    tokenizer,
    name: 'stories260K',
    port: 0,
    onFailure: (error) => console.error(error),
    ...options,
  });

beforeAll(async () => {
  model = loadModel(folder, { threads: 1 });
  tokenizer = loadTokenizer(folder);
  server = await start();
});
afterAll(async () => {
  await server.stop(0);
  model[Symbol.dispose]();
  expect(counters()).toEqual(before);
});

interface Answer {
  readonly choices: readonly {
    readonly index: number;
    readonly text: string;
    readonly finish_reason: string;
    readonly logprobs: {
      readonly tokens: string[];
      readonly token_logprobs: (number | null)[];
      readonly top_logprobs: (Record<string, number> | null)[];
      readonly text_offset: number[];
    };
  }[];
  readonly usage: { readonly prompt_tokens: number; readonly completion_tokens: number };
  readonly error: { readonly message: string; readonly type: string; readonly param: string | null };
}

const post = (body: unknown, options: { url?: string; headers?: Record<string, string>; path?: string } = {}) =>
  fetch(`${options.url ?? server.url}${options.path ?? '/v1/completions'}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...options.headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });

async function ask(body: unknown): Promise<Answer> {
  const response = await post(body);
  const answer = (await response.json()) as Answer;
  expect(response.status, JSON.stringify(answer.error)).toBe(200);
  return answer;
}

/** Context "Once upon a time, there was a little" and continuation " girl.", no BOS: 9 and 4 tokens. */
const IDS = [403, 407, 261, 378, 432, 383, 286, 261, 376, 298, 315, 421, 426];
const SCORING = { model: 'stories260K', temperature: 0, max_tokens: 1, logprobs: 1, seed: 1234, echo: true };

describe('scoring requests', () => {
  it("answer the protocol's worked example", async () => {
    const { choices, usage } = await ask({ ...SCORING, prompt: [IDS] });
    const { logprobs, text, finish_reason } = choices[0]!;
    expect(text).toBe('Once upon a time, there was a little girl. She');
    expect(finish_reason).toBe('length');
    expect(logprobs.tokens).toHaveLength(14);
    expect(logprobs.tokens.slice(-6)).toEqual(['▁little', '▁g', 'ir', 'l', '.', '▁She']);
    expect(logprobs.text_offset).toEqual([0, 4, 9, 11, 16, 17, 23, 27, 29, 36, 38, 40, 41, 42]);
    expect(logprobs.token_logprobs[0]).toBeNull();
    expect(logprobs.top_logprobs[0]).toBeNull();
    const expected = [-0.444851, -0.46025, -0.003698, -0.000857, -5.599655, -0.5973];
    logprobs.token_logprobs
      .slice(-6)
      .forEach((value, i) => expect(Math.abs(value! - expected[i]!)).toBeLessThan(TOLERANCE));
    const fourth = logprobs.top_logprobs[12]!;
    expect(Object.keys(fourth).sort()).toEqual(['.', '▁named']);
    expect(Math.abs(fourth['▁named']! - -0.018486)).toBeLessThan(TOLERANCE);
    // What the harness calls greedy: the largest alternative is the very number of the token.
    const greedy = [9, 10, 11, 12].map(
      (i) => logprobs.token_logprobs[i] === Math.max(...Object.values(logprobs.top_logprobs[i]!)),
    );
    expect(greedy).toEqual([true, true, true, false]);
    expect(usage).toEqual({ prompt_tokens: 13, completion_tokens: 1, total_tokens: 14 });
  });

  it('tell the four shapes of a prompt apart', async () => {
    const sum = (answer: Answer, i = 0): number =>
      answer.choices[i]!.logprobs.token_logprobs.reduce<number>((total, value) => total + (value ?? 0), 0);
    const text = 'Once upon a time, there was a little girl.';
    const expected = sum(await ask({ ...SCORING, prompt: [IDS] }));
    expect(sum(await ask({ ...SCORING, prompt: IDS }))).toBeCloseTo(expected, 5);
    expect(sum(await ask({ ...SCORING, prompt: text }))).toBeCloseTo(expected, 5);
    const two = await ask({ ...SCORING, prompt: ['The', text] });
    expect(two.choices.map(({ index }) => index)).toEqual([0, 1]);
    expect(sum(two, 1)).toBeCloseTo(expected, 5);
    expect((await ask({ ...SCORING, prompt: [[1, 346], IDS] })).choices).toHaveLength(2);
  });

  it('take one token more than the model reads, and no more', async () => {
    const long = Array.from({ length: 514 }, (_, i) => 300 + (i % 100));
    const { choices } = await ask({ ...SCORING, prompt: long.slice(0, 513) });
    expect(choices[0]!.logprobs.token_logprobs).toHaveLength(514);
    expect((await post({ ...SCORING, prompt: long })).status).toBe(400);
    expect((await post({ ...SCORING, prompt: long.slice(0, 513), max_tokens: 2 })).status).toBe(400);
  });
});

const greedyText = async (prompt: string, maxTokens: number): Promise<string> => {
  const ids: number[] = [];
  for await (const { token } of generate(model, tokenizer.encode(prompt), { temperature: 0, maxTokens }))
    ids.push(token);
  return tokenizer.decode([...tokenizer.encode(prompt), ...ids], { skipSpecialTokens: true }).slice(prompt.length);
};

describe('generation requests', () => {
  it('continue a text without repeating it', async () => {
    const { choices, usage } = await ask({ prompt: 'Lily went to the', max_tokens: 20, temperature: 0 });
    expect(choices[0]!.text).toBe(await greedyText('Lily went to the', 20));
    expect(choices[0]!.finish_reason).toBe('length');
    expect(usage.completion_tokens).toBe(20);
  });

  it('stream the same text in pieces', async () => {
    const body = { prompt: 'One day, a dog', max_tokens: 24, temperature: 0.8, seed: 5 };
    const whole = (await ask(body)).choices[0]!.text;
    const response = await post({ ...body, stream: true, stream_options: { include_usage: true } });
    expect(response.headers.get('content-type')).toMatch(/^text\/event-stream/);
    const events = (await response.text()).split('\n\n').filter((event) => event !== '');
    expect(events.pop()).toBe('data: [DONE]');
    const parts = events.map((event) => JSON.parse(event.slice('data: '.length)) as Answer);
    expect(parts.pop()!.usage.completion_tokens).toBe(24);
    expect(parts.length).toBeGreaterThan(5);
    expect(parts.map(({ choices }) => choices[0]!.text).join('')).toBe(whole);
    expect(parts.at(-1)!.choices[0]!.finish_reason).toBe('length');
  });

  it('end at a stop sequence, which is cut off', async () => {
    const text = await greedyText('Lily went to the', 60);
    const stop = text.slice(20, 26);
    const { choices } = await ask({ prompt: 'Lily went to the', max_tokens: 60, temperature: 0, stop: ['qqq', stop] });
    expect(choices[0]!.text).toBe(text.slice(0, text.indexOf(stop)));
    expect(choices[0]!.finish_reason).toBe('stop');
  });

  it('repeat with a seed; choices of one request differ', async () => {
    const body = { prompt: 'The cat', max_tokens: 16, temperature: 1.2, top_p: 0.95, seed: 11, n: 3 };
    const [first, second] = [await ask(body), await ask(body)];
    const texts = first.choices.map(({ text }) => text);
    expect(second.choices.map(({ text }) => text)).toEqual(texts);
    expect(new Set(texts).size).toBe(3);
  });

  it('give alternatives with their probabilities', async () => {
    const { choices } = await ask({ prompt: 'The cat', max_tokens: 3, temperature: 0, logprobs: 4 });
    const { token_logprobs, top_logprobs } = choices[0]!.logprobs;
    expect(top_logprobs.map((top) => Object.keys(top!).length)).toEqual([4, 4, 4]);
    token_logprobs.forEach((value, i) => expect(value).toBe(Math.max(...Object.values(top_logprobs[i]!))));
  });
});

it('holds 64 concurrent clients without a wrong or lost answer', async () => {
  const starts = ['Once', 'The cat', 'A big dog', 'Tom and Mia', 'One day', 'Sam', 'In the park', 'Lily'];
  const alone = new Map<string, string>();
  for (const prompt of starts) alone.set(prompt, await greedyText(prompt, 24));
  const scored = await ask({ ...SCORING, prompt: IDS });
  const clients = Array.from({ length: 64 }, async (_, i) => {
    const prompt = starts[i % starts.length]!;
    if (i % 3 === 0) {
      const answer = await ask({ ...SCORING, prompt: IDS });
      expect(answer.choices[0]!.logprobs.tokens).toEqual(scored.choices[0]!.logprobs.tokens);
      answer.choices[0]!.logprobs.token_logprobs.forEach((value, j) =>
        expect(Math.abs((value ?? 0) - (scored.choices[0]!.logprobs.token_logprobs[j] ?? 0))).toBeLessThan(TOLERANCE),
      );
      return 'scored';
    }
    const { choices } = await ask({ prompt, max_tokens: 24, temperature: 0 });
    expect(choices[0]!.text).toBe(alone.get(prompt));
    return 'generated';
  });
  const answers = await Promise.all(clients);
  expect(answers.filter((answer) => answer === 'generated')).toHaveLength(42);
});

describe('other routes', () => {
  it('name the model and say that it is well', async () => {
    const models = (await (await fetch(`${server.url}/v1/models`)).json()) as {
      data: { id: string; max_model_len: number }[];
    };
    expect(models.data).toMatchObject([{ id: 'stories260K', max_model_len: 512 }]);
    expect((await fetch(`${server.url}/v1/models/stories260K`)).status).toBe(200);
    expect(await (await fetch(`${server.url}/health`)).json()).toMatchObject({ status: 'ok' });
  });

  it('tokenize and back, and tell the special tokens', async () => {
    const body = { prompt: 'test', add_special_tokens: false };
    const { tokens } = (await (await post(body, { path: '/tokenize' })).json()) as { tokens: number[] };
    expect(tokens).toEqual([...tokenizer.encode('test')]);
    expect(await (await post({ prompt: '<s>' }, { path: '/tokenize' })).json()).toMatchObject({
      tokens: [1, ...tokenizer.encode('<s>').slice(1)],
    });
    expect(await (await post({ tokens }, { path: '/detokenize' })).json()).toEqual({ prompt: 'test' });
    const info = await (await fetch(`${server.url}/tokenizer_info`)).json();
    expect(info).toEqual({ eos_token: '</s>', bos_token: '<s>', pad_token: null });
  });
});

describe('bad requests get a JSON error that names what is wrong', () => {
  const nested = `${'['.repeat(50_000)}${']'.repeat(50_000)}`;
  const cases: [string, unknown, number, RegExp][] = [
    ['no JSON', '{"prompt": ', 400, /no JSON/],
    ['nested brackets', `{"prompt": ${nested}}`, 400, /prompt/],
    ['a list', [], 400, /JSON object/],
    ['no prompt', {}, 400, /^prompt/],
    ['an empty prompt', { prompt: '' }, 400, /no tokens/],
    ['no prompts', { prompt: [] }, 400, /1 to 2048/],
    ['too many prompts', { prompt: Array.from({ length: 3000 }, () => 'a') }, 400, /1 to 2048/],
    ['mixed prompts', { prompt: ['a', [1]] }, 400, /^prompt/],
    ['an unknown token', { prompt: [1, 512] }, 400, /token 512/],
    ['a negative token', { prompt: [1, -5] }, 400, /^prompt/],
    ['a fraction', { prompt: [1.5] }, 400, /^prompt/],
    ['too many tokens', { prompt: Array.from({ length: 600 }, () => 300) }, 400, /600 tokens.*512/],
    ['a huge number of tokens', { prompt: 'a', max_tokens: 1e300 }, 400, /max_tokens/],
    ['negative temperature', { prompt: 'a', temperature: -1 }, 400, /temperature/],
    ['a penalty', { prompt: 'a', presence_penalty: 1 }, 400, /presence_penalty/],
    ['a field that is not there', { prompt: 'a', tempreature: 1 }, 400, /"tempreature"/],
    ['another model', { prompt: 'a', model: 'gpt-4' }, 404, /gpt-4/],
    ['a prototype', '{"prompt": "a", "__proto__": {"max_tokens": 5}}', 400, /__proto__|not supported/],
  ];
  it.each(cases)('%s', async (_, body, status, message) => {
    const response = await post(body);
    expect(response.status).toBe(status);
    const { error } = (await response.json()) as Answer;
    expect(error.message).toMatch(message);
    expect(typeof error.type).toBe('string');
  });

  it('another content type, an unknown route, too large a body', async () => {
    expect((await post({ prompt: 'a' }, { headers: { 'content-type': 'text/plain' } })).status).toBe(415);
    expect((await post({}, { path: '/v1/chat/completions' })).status).toBe(404);
    const small = await start({ maxBodyBytes: 1000 });
    const response = await post({ prompt: 'a'.repeat(5000) }, { url: small.url });
    expect([response.status, ((await response.json()) as Answer).error.message]).toEqual([
      413,
      'the request has more than 1000 bytes',
    ]);
    await small.stop(0);
  });
});

describe('limits', () => {
  it('asks for the bearer token where one is set', async () => {
    const closed = await start({ token: 'secret' });
    const send = (headers: Record<string, string>) =>
      post({ prompt: 'a', max_tokens: 1 }, { url: closed.url, headers });
    expect((await send({})).status).toBe(401);
    expect((await send({ authorization: 'Bearer wrong' })).status).toBe(401);
    expect((await send({ authorization: 'Bearer secret' })).status).toBe(200);
    expect((await fetch(`${closed.url}/health`)).status).toBe(200);
    await closed.stop(0);
  });

  it('turns requests away when too many wait', async () => {
    const tight = await start({ mostWaiting: 2, cacheTokens: 512 });
    const body = { prompt: 'Once', max_tokens: 400, temperature: 0 };
    const statuses = await Promise.all(
      Array.from({ length: 8 }, async () => (await post(body, { url: tight.url })).status),
    );
    expect(statuses).toContain(429);
    expect(statuses).toContain(200);
    await tight.stop(0);
  });

  it('gives up after the time limit', async () => {
    const slow = await start({ timeoutSeconds: 0.05, cacheTokens: 512 });
    const response = await post({ prompt: ['Once', 'The', 'A'], max_tokens: 500, temperature: 0 }, { url: slow.url });
    expect(response.status).toBe(504);
    await slow.stop(0);
  });

  it('forgets a client that has gone', async () => {
    const { port } = new URL(server.url);
    const request = httpRequest({
      port,
      method: 'POST',
      path: '/v1/completions',
      headers: { 'content-type': 'application/json' },
    });
    request.on('error', () => undefined);
    request.end(JSON.stringify({ prompt: 'Once', max_tokens: 500, temperature: 0, stream: true }));
    await new Promise((resolve) => request.once('response', resolve));
    request.destroy();
    const health = async () => (await (await fetch(`${server.url}/health`)).json()) as { running: number };
    await expect.poll(async () => (await health()).running, { timeout: 5000 }).toBe(0);
  });

  it('stops gracefully: open requests are answered, new ones refused', async () => {
    const leaving = await start();
    const open = post({ prompt: 'Once', max_tokens: 60, temperature: 0 }, { url: leaving.url });
    await expect
      .poll(async () => ((await (await fetch(`${leaving.url}/health`)).json()) as { running: number }).running, {
        interval: 1,
      })
      .toBe(1);
    const stopped = leaving.stop();
    expect((await open).status).toBe(200);
    await stopped;
    await expect(post({ prompt: 'a' }, { url: leaving.url })).rejects.toThrow();
  });
});
