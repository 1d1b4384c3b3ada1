export { decodeFloats, encodeFloats } from './convert.js';
export {
  type FloatDType,
  isFloatDType,
  parseFloatDType,
  type StoredDType,
  storedDtypeBytes,
  torchDtypeName,
} from './dtype.js';
export { type SafetensorsHeader, type TensorEntry } from './header.js';
export { SafetensorsFile } from './reader.js';
export { SafetensorsWriter, type TensorPlan, writeSafetensors, type WrittenFile } from './writer.js';
