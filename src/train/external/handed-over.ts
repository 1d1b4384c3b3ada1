/** A stage waits for another trainer somewhere else; nothing failed. */
export class HandedOver extends Error {
  override readonly name = 'HandedOver';
  constructor(
    readonly stage: string,
    readonly command: string,
  ) {
    super(
      `Stage "${stage}" is handed over. Run this where the trainer is, then repeat the command here ("strata study continue" for a study):\n  ${command}`,
    );
  }
}
