export { HandedOver } from './handed-over.js';
export { externalStage } from './stage.js';
