export { pageRuns, shortLabels, trainRecordsPerRun, type PageComparison, type PageData, type PageRun } from './data.js';
export { figuresFor, type FigureSpec } from './figures.js';
export { pageParts, renderPage, type PageOptions } from './page.js';
export { writeFigures, writeReport, writeStudyReport, writeTuneReport, type ReportInput } from './report.js';
export { type PageStudy } from './study-data.js';
export { type PageTune } from './tune-data.js';
export { requireFigureFile, writeAttentionFigure } from './single-figure.js';
export { startLiveServer, type LiveServer, type LiveServerOptions } from './live/server.js';
export {
  LIMITS,
  makeKeyPair,
  makeStatement,
  modelCard,
  readStatement,
  signStatement,
  verifyStatement,
  type Check,
  type ComputeStatement,
} from './card/index.js';
