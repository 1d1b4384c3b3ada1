const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

/** UTF-8 bytes of a text; lone surrogates become U+FFFD. */
export const encodeUtf8 = (text: string): Uint8Array => Buffer.from(text, 'utf8');

/** Text of UTF-8 bytes; what is not valid becomes U+FFFD, a byte order mark stays. */
export const decodeBytes = (bytes: Uint8Array): string => decoder.decode(bytes);
