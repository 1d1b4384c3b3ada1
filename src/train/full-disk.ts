const reasons: Readonly<Record<string, string>> = {
  ENOSPC: 'no space is left on the device',
  EDQUOT: 'the disk quota is used up',
  EFBIG: 'a file would pass the limit on file sizes',
};

/** Why the disk takes no more, where that is what an error means. */
export function fullDiskReason(error: unknown): string | undefined {
  const { code, message = '' } = error as NodeJS.ErrnoException;
  const found = Object.keys(reasons).find((name) => code === name || message.includes(name));
  return found === undefined ? undefined : reasons[found];
}
