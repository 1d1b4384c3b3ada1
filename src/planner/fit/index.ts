export type { Estimate } from './bootstrap.js';
export { fitRuns, readFit, type FitFile, type SizeFit } from './from-runs.js';
export { fitIsoFlop, fitTiming, type IsoFlopFit, type TimingFit } from './iso-flop.js';
export { fitIrreducibleLaw, fitPowerLaw, type IrreducibleLaw, type LawPoint, type PowerLaw } from './power-law.js';
