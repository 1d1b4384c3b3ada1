import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { lockBeside, lockFolder } from './lock.js';

const folder = mkdtempSync(join(tmpdir(), 'strata-lock-'));
const path = join(folder, 'run.lock');
writeFileSync(join(folder, 'run.json'), '{}');
afterAll(() => rmSync(folder, { recursive: true }));

describe('lockFolder', () => {
  it('keeps a second holder out until it is released', () => {
    const lock = lockFolder(folder);
    expect(() => lockFolder(folder)).toThrow(`in use by process ${process.pid}`);
    lock.release();
    expect(existsSync(path)).toBe(false);
    lockFolder(folder).release();
  });

  it('lies beside what is made, and goes with it', () => {
    const target = join(folder, 'new', 'grown');
    const lock = lockBeside(target);
    expect(() => lockBeside(target)).toThrow(`${target} is in use by process ${process.pid}`);
    lock.release();
    expect(existsSync(`${target}.lock`)).toBe(false);
  });

  it('removes a folder that nothing was put into', () => {
    const empty = join(folder, 'empty');
    lockFolder(empty).release();
    expect(existsSync(empty)).toBe(false);
  });

  it('takes over from a process that is gone, and from a later one with the same number', () => {
    const { pid } = spawnSync(process.execPath, ['-e', '']);
    writeFileSync(path, JSON.stringify({ pid, host: hostname(), started: '1' }));
    lockFolder(folder).release();
    writeFileSync(path, JSON.stringify({ pid: process.pid, host: hostname(), started: '1' }));
    lockFolder(folder).release();
    writeFileSync(path, 'torn');
    lockFolder(folder).release();
  });

  it('respects living processes and other machines', () => {
    const child = spawn(process.execPath, ['-e', 'setTimeout(() => {}, 60000)']);
    const lock = lockFolder(folder);
    const own = JSON.parse(readFileSync(path, 'utf8')) as { started: string };
    lock.release();
    const started = readFileSync(`/proc/${child.pid}/stat`, 'utf8').split(') ')[1]!.split(' ')[19]!;
    expect(own.started).toMatch(/^\d+$/);
    writeFileSync(path, JSON.stringify({ pid: child.pid, host: hostname(), started }));
    expect(() => lockFolder(folder)).toThrow(`in use by process ${child.pid}`);
    child.kill();
    writeFileSync(path, JSON.stringify({ pid: 1, host: 'elsewhere', started: '1' }));
    expect(() => lockFolder(folder)).toThrow('on elsewhere');
    rmSync(path);
  });
});
