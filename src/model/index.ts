export * from './arena.js';
export * from './parameters.js';
export * from './registry.js';
export * from './rope.js';
export type * from './types.js';
