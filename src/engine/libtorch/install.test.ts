import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { compareVersions, findLibtorch, installFolder, libraryFile, PINNED_VERSION } from './find.js';
import { installLibtorch, type InstallReporter } from './install.js';

const LIBRARY = `torch/lib/${libraryFile('torch_cpu')}`;
let folder = '';
let said: string[] = [];
const reporter: InstallReporter = {
  json: false,
  interactive: false,
  say: (line) => said.push(line),
  progress: () => ({ update() {}, finish() {} }),
};

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'strata-install-'));
  said = [];
  vi.stubEnv('XDG_CACHE_HOME', join(folder, 'cache'));
  vi.stubEnv('STRATA_LIBTORCH', undefined);
  vi.stubEnv('VIRTUAL_ENV', join(folder, 'venv'));
  usePip('exit 1');
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true });
});

/** Puts a Python in the virtual environment whose `-m pip COMMAND ...` runs a shell script; it has no torch. */
function usePip(script: string): void {
  const python = join(folder, 'venv/bin/python3');
  mkdirSync(dirname(python), { recursive: true });
  writeFileSync(python, `#!/bin/sh\n[ "$1" = -m ] || exit 1\nshift 2\nall="$*"\n${script}\n`);
  chmodSync(python, 0o755);
}

/** Bytes of a zip file with stored entries, their CRCs left 0: a wheel's own checksums are what is looked at. */
function zipOf(files: Record<string, string>): Buffer {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const [name, text] of Object.entries(files)) {
    const [path, data] = [Buffer.from(name), Buffer.from(text)];
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20, 0);
    common.writeUInt32LE(data.length, 14);
    common.writeUInt32LE(data.length, 18);
    common.writeUInt16LE(path.length, 22);
    const entry = Buffer.alloc(14);
    entry.writeUInt32LE(offset, 10);
    parts.push(Buffer.from('PK\x03\x04'), common, path, data);
    directory.push(Buffer.from('PK\x01\x02\x14\x00'), common, entry, path);
    offset += 30 + path.length + data.length;
  }
  const central = Buffer.concat(directory);
  const end = Buffer.alloc(18);
  end.writeUInt16LE(Object.keys(files).length, 4);
  end.writeUInt16LE(Object.keys(files).length, 6);
  end.writeUInt32LE(central.length, 8);
  end.writeUInt32LE(offset, 12);
  return Buffer.concat([...parts, central, Buffer.from('PK\x05\x06'), end]);
}

const recordLine = (name: string, text: string): string =>
  `${name},sha256=${createHash('sha256').update(text).digest('base64url')},${text.length}\n`;

function wheel(extra: Record<string, string> = {}, version = PINNED_VERSION, damage = ''): string {
  const files = {
    'torch/version.py': `__version__ = '${version}+cpu'\n`,
    [LIBRARY]: 'machine code',
    [`torch/lib/${libraryFile('torch_python')}`]: 'not needed',
    ...extra,
  };
  const record = Object.entries(files).map(([name, text]) => recordLine(name, text + (name === LIBRARY ? damage : '')));
  const path = join(folder, `torch-${version}+cpu-cp311-cp311-any.whl`);
  writeFileSync(path, zipOf({ ...files, [`torch-${version}+cpu.dist-info/RECORD`]: record.join('') }));
  return path;
}

const report = (path: string, requires: string[] = []): string =>
  JSON.stringify({ install: [{ download_info: { url: `file://${path}` }, metadata: { requires_dist: requires } }] });

describe('installing from a wheel', () => {
  it('unpacks only what is needed, with checksums, and is found afterwards', async () => {
    const place = await installLibtorch(reporter, { wheel: wheel() });
    const root = installFolder(PINNED_VERSION);
    expect(place).toEqual({ folder: join(root, 'torch/lib'), version: `${PINNED_VERSION}+cpu`, source: 'cache' });
    expect(readdirSync(place.folder)).toEqual([libraryFile('torch_cpu')]);
    const hash = createHash('sha256').update('machine code').digest('hex');
    expect(readFileSync(join(root, 'SHA256SUMS'), 'utf8')).toContain(`${hash}  ${LIBRARY}\n`);
    expect(findLibtorch()).toEqual(place);
    expect(readdirSync(dirname(root))).toEqual([root.split('/').at(-1)]);
    await installLibtorch(reporter);
    expect(said.at(-1)).toMatch(/is already in/);
  });

  it.each([
    [
      'is damaged',
      () => wheel({}, PINNED_VERSION, 'x'),
      /damaged: torch\/lib\/libtorch_cpu\.\w+ does not have the checksum/,
    ],
    ['is too old', () => wheel({}, '2.9.1'), /is torch 2\.9\.1, but Strata needs 2\.10 or later/],
    ['is not there', () => join(folder, 'none.whl'), /none\.whl: expected a wheel of torch, found no file/],
    ['is no wheel', () => join(folder, 'venv/bin/python3'), /expected a wheel of torch, found none/],
  ])('leaves nothing behind where the file %s', async (_, make, message) => {
    await expect(installLibtorch(reporter, { wheel: make() })).rejects.toThrow(message);
    expect(readdirSync(join(folder, 'cache/strata/libtorch'))).toEqual([]);
    expect(findLibtorch()).toBeUndefined();
  });

  it('lets a second installer wait for the first, whose result it takes', async () => {
    usePip(`case $1 in --version) echo pip 24.0;; install) sleep 0.3; cat <<'END'\n${report(wheel())}\nEND\n;; esac`);
    const [first, second] = await Promise.all([installLibtorch(reporter), installLibtorch(reporter)]);
    expect(second).toEqual(first);
    expect(said.filter((line) => line.startsWith('Getting'))).toHaveLength(1);
    expect(said).toContain('Another process is installing libtorch: waiting for it.');
  });
});

describe('installing through pip', () => {
  it('goes on to the configured source where the index of CPU builds has nothing', async () => {
    usePip(`case "$all" in --version) echo pip 24.0;; *whl/cpu*) echo "ERROR: (from versions: none)" >&2; exit 1;;
*) cat <<'END'\n${report(wheel())}\nEND\n;; esac`);
    await installLibtorch(reporter);
    expect(said[0]).toMatch(
      /^PyTorch's index of CPU builds: cannot be reached, or has no torch==.*\. Trying the next source\.$/,
    );
    expect(said[1]).toMatch(/^Getting torch .*: torch-2\.13\.0\+cpu-cp311-cp311-any\.whl, 0 MiB\.$/);
  });

  it('does not take a CUDA build unasked', async () => {
    const cuda = wheel({ 'torch/lib/libtorch_cuda.so': 'gpu' });
    const offer = (needs: string[]) =>
      `case $1 in --version) echo pip 24.0;; *) cat <<'END'\n${report(cuda, needs)}\nEND\n;; esac`;
    usePip(offer(['nvidia-cublas==13']));
    await expect(installLibtorch(reporter)).rejects.toThrow(
      /offers only a CUDA build \(0 MiB\), which is taken only when/,
    );
    usePip(offer([]));
    await expect(installLibtorch(reporter)).rejects.toThrow(/is a CUDA build/);
    await expect(installLibtorch(reporter, { indexUrl: 'http://localhost:9/simple' })).resolves.toBeTruthy();
  });

  it('works with a pip that cannot report before it downloads', async () => {
    usePip(`case $1 in --version) echo pip 20.0;; install) echo "no such option: --report" >&2; exit 2;;
download) cp '${wheel()}' "$3";; esac`);
    await installLibtorch(reporter);
    expect(said[0]).toMatch(/one wheel, size unknown/);
    expect(existsSync(join(folder, 'cache/strata/libtorch/downloads'))).toBe(false);
  });

  it('says what to do without pip, and in one sentence why nothing could be had', async () => {
    await expect(installLibtorch(reporter)).rejects.toThrow(/install pip, or give a wheel of torch with --wheel/);
    usePip('case $1 in --version) echo pip 24.0;; *) echo "ERROR: the network is down." >&2; exit 1;; esac');
    await expect(installLibtorch(reporter)).rejects.toThrow(
      /^libtorch 2\.13\.0 could not be had \(PyTorch's index of CPU builds: the network is down; pip's configured source: the network is down\)\.$/,
    );
  });
});

it('finds what STRATA_LIBTORCH names, in any of its forms, and nothing else', () => {
  const torch = join(folder, 'site/torch');
  mkdirSync(join(torch, 'lib'), { recursive: true });
  writeFileSync(join(torch, 'lib', libraryFile('torch_cpu')), '');
  writeFileSync(join(torch, 'version.py'), "__version__ = '2.11.0'\n");
  for (const named of [torch, join(torch, 'lib'), dirname(torch)]) {
    vi.stubEnv('STRATA_LIBTORCH', named);
    expect(findLibtorch()).toEqual({ folder: join(torch, 'lib'), version: '2.11.0', source: 'STRATA_LIBTORCH' });
  }
  vi.stubEnv('STRATA_LIBTORCH', folder);
  expect(() => findLibtorch()).toThrow(/STRATA_LIBTORCH: expected a folder with libtorch_cpu/);
});

it("takes the active Python's torch where it is recent enough", () => {
  const torch = join(folder, 'site/torch');
  mkdirSync(join(torch, 'lib'), { recursive: true });
  writeFileSync(join(torch, 'lib', libraryFile('torch_cpu')), '');
  writeFileSync(join(folder, 'venv/bin/python3'), `#!/bin/sh\necho ${torch}\n`);
  writeFileSync(join(torch, 'version.py'), "__version__ = '2.9.1+cu128'\n");
  expect(findLibtorch()).toBeUndefined();
  writeFileSync(join(torch, 'version.py'), "__version__ = '2.12.0+cu128'\n");
  expect(findLibtorch()).toMatchObject({ version: '2.12.0+cu128', source: 'python' });
});

it('orders versions by their numbers', () => {
  expect(['2.13.0+cpu', '2.9', '2.10.1', '2.10'].sort(compareVersions)).toEqual([
    '2.9',
    '2.10',
    '2.10.1',
    '2.13.0+cpu',
  ]);
});
