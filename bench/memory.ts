import { readFileSync, writeFileSync } from 'node:fs';

/** Resident memory of this process in bytes: now, or the most since `resetPeak`. Linux only. */
export function residentBytes(which: 'now' | 'peak'): number {
  const field = which === 'now' ? 'VmRSS' : 'VmHWM';
  const kilobytes = new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
  return Number(kilobytes) * 1024;
}

/** Lets the peak begin anew. */
export const resetPeak = (): void => writeFileSync('/proc/self/clear_refs', '5');
