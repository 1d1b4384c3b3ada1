import { arcTask } from './arc.js';

/** ARC's easy questions: grade-school science, 3 to 5 choices. */
export const arcEasy = arcTask(
  'arc_easy',
  'ARC-Easy',
  { rows: 2376, sha256: 'ce32a0774b4beb1977d2c6b16dda5dd2b24fdc9c7f506882c452678676bd09be' },
  { rows: 2251, sha256: 'c62e5482d8c01f2d5a7f24239ac9db3b12f9e47267c4e3f088c6ffe41d5545ef' },
);
