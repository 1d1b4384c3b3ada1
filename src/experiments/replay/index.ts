export {
  describeReplay,
  parseSegment,
  type Replay,
  type ReplayedFile,
  type ReplayOptions,
  replaySegment,
} from './replay.js';
