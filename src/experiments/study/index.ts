export { type Comparison as StudyComparison, type Rank, type SeedResult, type Verdict } from './analyse.js';
export { type EndPoint } from './end-points.js';
export { chosenParts, forecastStudy, runStudy, studyFile, type StudyOptions, type StudyResults } from './execute.js';
export { type Role } from './expand.js';
export { type LoadedStudy, loadStudy, parseStudy, readStudyFile, type StudyInput } from './schema.js';
export { type Tuned } from './tuning.js';
