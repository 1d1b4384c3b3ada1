import { arcTask } from './arc.js';

/** ARC's hard questions: those that retrieval and word co-occurrence both answer wrong. */
export const arcChallenge = arcTask(
  'arc_challenge',
  'ARC-Challenge',
  { rows: 1172, sha256: '9fa8ffb3e3a1f88cb302d53dd95aae81e39209ad9bcf974376b319d8fd35717c' },
  { rows: 1119, sha256: 'e02837c53ee86f6d73c259f91c77725c5062ef4531130b7f473a9d9b01118a77' },
);
