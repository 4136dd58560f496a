// What a machine may boot now: the gate's answer (src/decide/gate.ts).

export type BootPlan =
  | { boot: 'ramdisk'; orderId: string; attempt: number; token: string; reason: string }
  | { boot: 'local-disk'; reason: string }
  | { boot: 'nothing'; reason: string }
