export {
  type JobResult,
  lastResults,
  measuredRate,
  type Outcome,
  runSweep,
  SWEEP_RECORDS,
  type SweepOptions,
} from './execute.js';
export { forecastSweep, type JobForecast, type SweepForecast } from './forecast.js';
export { grid, planJobs, type Sweep, type SweepCell, type SweepJob } from './spec.js';
