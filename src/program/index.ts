export * from './passes.js';
export * from './program.js';
export * from './recorder.js';
export * from './tape.js';
