// `npm run bench`: set-up, then the bench; arguments are passed on. `npm run --silent bench` leaves standard output to `--json`.
import { handOver, main, setup } from './setup.mjs';

main(() => {
  setup();
  handOver('bench/run.js');
});
