/** Peak dense bf16 FLOP/s (no sparsity) and memory of one accelerator. */
export interface Device {
  readonly name: string;
  readonly peakFlops: number;
  readonly memoryBytes: number;
  readonly source: string;
}

/** Accelerators by the name that `--gpu` takes; figures from their makers' data sheets. */
export const devices: Readonly<Record<string, Device>> = {
  a100: { name: 'NVIDIA A100 SXM 80 GB', peakFlops: 312e12, memoryBytes: 80e9, source: 'NVIDIA A100 data sheet' },
  h100: { name: 'NVIDIA H100 SXM 80 GB', peakFlops: 989.4e12, memoryBytes: 80e9, source: 'NVIDIA H100 data sheet' },
  h200: { name: 'NVIDIA H200 SXM 141 GB', peakFlops: 989.4e12, memoryBytes: 141e9, source: 'NVIDIA H200 data sheet' },
  l40s: { name: 'NVIDIA L40S 48 GB', peakFlops: 362e12, memoryBytes: 48e9, source: 'NVIDIA L40S data sheet' },
  mi300x: { name: 'AMD MI300X 192 GB', peakFlops: 1307.4e12, memoryBytes: 192e9, source: 'AMD MI300X data sheet' },
};

/** Model FLOP utilisation assumed where `--mfu` is not given: what well-tuned dense runs report. */
export const DEFAULT_MFU = 0.4;
