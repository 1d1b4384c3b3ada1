// `npm run bench`: set-up, then the bench; arguments are passed on. `npm run --silent bench` leaves standard output to `--json`.
import { handOver, main, setup } from './setup.mjs';

await main(async () => {
  await setup();
  handOver('bench/run.js');
});
