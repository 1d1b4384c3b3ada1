/** The run was asked to stop and has saved what it did. */
export class Interruption extends Error {
  override readonly name = 'Interruption';
  constructor(
    readonly step: number,
    readonly checkpoint: string,
  ) {
    super(`Stopped after step ${step}; ${checkpoint} is saved, and the same command goes on from there.`);
  }
}
