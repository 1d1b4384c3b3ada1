export { clipScale } from './clip.js';
export { learningRateShare, type Schedule } from './schedules.js';
