import { createPrivateKey, createPublicKey, generateKeyPairSync, sign, verify } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { InputError } from '../../errors.js';
import { canonicalJson } from '../../records/index.js';
import type { ComputeStatement } from './statement.js';

/** What is signed: the canonical JSON of the statement without its signature. */
const signedText = ({ signature: _, ...statement }: ComputeStatement): Buffer => Buffer.from(canonicalJson(statement));

/** Makes an Ed25519 key pair, both in PEM. */
export function makeKeyPair(): { privateKey: string; publicKey: string } {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  return {
    privateKey: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    publicKey: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
  };
}

/** Signs a statement with the private key in a PEM file. */
export function signStatement(statement: ComputeStatement, keyPath: string): ComputeStatement {
  let key;
  try {
    key = createPrivateKey(readFileSync(keyPath));
  } catch (error) {
    throw new InputError(
      `${keyPath} cannot be read as a private key in PEM: ${error instanceof Error ? error.message : String(error)}.`,
      { cause: error },
    );
  }
  if (key.asymmetricKeyType !== 'ed25519')
    throw new InputError(`${keyPath}: expected an Ed25519 key, found ${key.asymmetricKeyType ?? 'another'}.`);
  const publicKey = createPublicKey(key).export({ type: 'spki', format: 'der' }).toString('base64');
  return {
    ...statement,
    signature: { algorithm: 'Ed25519', publicKey, value: sign(null, signedText(statement), key).toString('base64') },
  };
}

/** Whether the signature fits the statement and its own public key; undefined where there is none. */
export function signatureFits(statement: ComputeStatement): boolean | undefined {
  if (statement.signature === undefined) return undefined;
  const { publicKey, value } = statement.signature;
  try {
    const key = createPublicKey({ key: Buffer.from(publicKey, 'base64'), type: 'spki', format: 'der' });
    return (
      key.asymmetricKeyType === 'ed25519' && verify(null, signedText(statement), key, Buffer.from(value, 'base64'))
    );
  } catch {
    return false;
  }
}
