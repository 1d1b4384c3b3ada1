export { type Correlation, jobsOf, type Rung, runTune, type Trial, TUNE_FILE, type TuneResult } from './execute.js';
export { type MeasuredCost, measuredCost } from './measure.js';
export { spearman } from './spearman.js';
export { type Axis, type Fidelity, fidelityName, planTune, type Tune, type TunePlan } from './spec.js';
