/** A request that cannot be answered: becomes JSON as OpenAI's servers write it. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError';
  readonly status: number;
  /** The field that is wrong. */
  readonly param: string | null;

  constructor(status: number, message: string, param: string | null = null) {
    super(message);
    this.status = status;
    this.param = param;
  }
}

const TYPES: Readonly<Record<number, string>> = {
  401: 'authentication_error',
  404: 'not_found_error',
  429: 'rate_limit_error',
  500: 'server_error',
  503: 'server_error',
  504: 'timeout_error',
};

/** The body of an error's answer. */
export function errorBody({ status, message, param }: Pick<ProtocolError, 'status' | 'message' | 'param'>) {
  return { error: { message, type: TYPES[status] ?? 'invalid_request_error', param, code: null } };
}
