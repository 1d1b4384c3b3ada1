export { type LoadedModel, loadModel, type Model } from './model.js';
export { PackedForward, type PackedForwardOptions, type PackedRows, type TokenScores } from './packed-forward.js';
