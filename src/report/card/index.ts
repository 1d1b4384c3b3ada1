export { modelCard } from './model-card.js';
export { makeKeyPair, signatureFits, signStatement } from './signature.js';
export { chainRecords, makeStatement, readStatement, type ComputeStatement } from './statement.js';
export { LIMITS, verifyStatement, type Check } from './verify.js';
