export { clipScale } from './clip.js';
export { type NewEntries, newEntriesRate } from './new-entries.js';
export { learningRateShare, type Schedule } from './schedules.js';
