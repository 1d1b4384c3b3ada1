// `npm run quickstart`: set-up, then the quickstart itself; arguments are passed on.
import { handOver, main, setup } from './setup.mjs';

await main(async () => {
  await setup();
  handOver('recipes/quickstart.js');
});
