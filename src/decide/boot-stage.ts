// Loops: a machine that comes to the same stage of booting again and again in one attempt of its order, with nothing after it, is not helped
// by the same boot file once more. What is counted is kept in memory as a hint: whether a machine may boot is the
// gate's business and never a matter of counting.

import type { Order } from '../domain/order.ts'
import type { FirmwareName } from './firmware.ts'

/** How often a machine was told a boot file at each stage of one attempt, since it last got beyond that stage. */
export type BootStages = {
  orderId: string
  attempt: number
  /** Loaders that had been silent by then: with the next one all begins anew. */
  silent: number
  visits: Readonly<Partial<Record<FirmwareName, number>>>
  /** The transaction that was counted last: a repeated packet is no visit. */
  xid: number
}

/** What comes before what. */
const RANK: Readonly<Record<FirmwareName, number>> = {
  'http-uefi': 0,
  'pxe-bios': 0,
  'pxe-uefi': 0,
  'pxe-other': 0,
  ipxe: 1,
  ramdisk: 2,
  system: 3
}

/** Whether it is firmware that asks: whatever of ours it was told before has come to nothing. */
export function isFirmware(name: FirmwareName): boolean {
  return RANK[name] === 0
}

/** A boot file is tried so often before the next one. */
const TRIES = 2
/** So many boot files a stage and attempt, then no more: the next attempt starts anew. */
export const MOST_VISITS = 8

type Attempt = Pick<Order, 'id' | 'attempt' | 'loaderTrial'>

const silentOf = ({ loaderTrial }: Attempt) => loaderTrial?.silent.length ?? 0

function isOf(stages: BootStages | null, order: Attempt): stages is BootStages {
  return stages?.orderId === order.id && stages.attempt === order.attempt && stages.silent === silentOf(order)
}

/** Visits before this one. */
export function visitsBefore(
  stages: BootStages | null,
  order: Attempt,
  firmware: FirmwareName,
  xid: number
): number {
  if (!isOf(stages, order)) return 0
  const visits = stages.visits[firmware] ?? 0
  return stages.xid === xid && visits > 0 ? visits - 1 : visits
}

/** After a request was acknowledged: this visit is counted if it got a boot file, and the stages before it have worked. */
export function stagesAfter(
  stages: BootStages | null,
  order: Attempt,
  firmware: FirmwareName,
  xid: number,
  gotFile: boolean
): BootStages {
  const same = isOf(stages, order)
  if (same && stages.xid === xid) return stages
  const visits: Partial<Record<FirmwareName, number>> = {}
  for (const [name, count] of Object.entries(same ? stages.visits : {}) as [FirmwareName, number][])
    if (RANK[name] >= RANK[firmware]) visits[name] = count
  if (gotFile) visits[firmware] = (visits[firmware] ?? 0) + 1
  return { orderId: order.id, attempt: order.attempt, silent: silentOf(order), visits, xid }
}

/** Which of `count` boot files this visit gets; null: none any more. The last one is what is left until there is none. */
export function choiceOf(visits: number, count: number): number | null {
  if (visits >= MOST_VISITS) return null
  return Math.min(Math.floor(visits / TRIES), count - 1)
}
