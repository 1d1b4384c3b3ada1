// `npm run quickstart`: set-up, then the quickstart itself; arguments are passed on.
import { handOver, main, setup } from './setup.mjs';

main(() => {
  setup();
  handOver('recipes/quickstart.js');
});
