// System packages that a few tests need. Without them those tests skip themselves and name the package.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { root, say, timed } from './setup.mjs';

/** Program looked for, and the Debian package that brings it. */
const PACKAGES = [{ program: 'chromium', name: 'chromium' }];
const TIMEOUT_MS = 8 * 60_000;

const onPath = (program) => process.env.PATH.split(delimiter).some((folder) => existsSync(join(folder, program)));

/** Installs what is missing where this is possible without asking anyone: as root, with apt. Tries once a checkout. */
export function installSystemPackages() {
  const missing = PACKAGES.filter(({ program }) => !onPath(program)).map(({ name }) => name);
  const tried = join(root, 'node_modules', '.cache', 'strata', 'system-packages-tried');
  if (missing.length === 0 || process.getuid?.() !== 0 || !onPath('apt-get') || existsSync(tried)) return;
  timed(`Installing ${missing.join(', ')} with apt-get (for a few tests; up to some minutes)`, () => {
    mkdirSync(join(tried, '..'), { recursive: true });
    writeFileSync(tried, missing.join('\n'));
    const install = ['install', '-y', '--no-install-recommends', ...missing];
    if (!apt(['update']) || !apt(install)) say('apt-get did not succeed; the tests that need it will be skipped');
  });
}

function apt(args) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  return spawnSync('apt-get', ['-qq', ...args], { env, stdio: 'ignore', timeout: TIMEOUT_MS }).status === 0;
}
