// GPT-2's table between bytes and printable characters: vocabularies of byte-level tokenizers write each byte as one character.
// Source: Radford et al. 2019, `bytes_to_unicode` of the published encoder.

const isPrintable = (byte: number): boolean =>
  (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);

/** The character that stands for each byte. */
export const byteCharacters: readonly string[] = buildCharacters();

const bytesByCharacter: ReadonlyMap<string, number> = new Map(
  byteCharacters.map((character, byte) => [character, byte]),
);

/** The bytes that a vocabulary entry stands for, or undefined if one of its characters stands for no byte. */
export function tokenBytes(token: string): Uint8Array | undefined {
  const bytes = new Uint8Array(token.length);
  for (let i = 0; i < token.length; i++) {
    const byte = bytesByCharacter.get(token.charAt(i));
    if (byte === undefined) return undefined;
    bytes[i] = byte;
  }
  return bytes;
}

function buildCharacters(): string[] {
  let moved = 0;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(isPrintable(byte) ? byte : 256 + moved++));
}
