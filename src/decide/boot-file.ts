// May the machine at this address have this file now? TFTP and HTTP ask the same question here, and here the gate is asked.

import type { BootPlan } from '../domain/boot.ts'
import type { Change } from '../domain/change.ts'
import type { EventDetail, EventKind } from '../domain/event.ts'
import type { Image } from '../domain/image.ts'
import type { CpuArch, Node, Port } from '../domain/node.ts'
import type { Order } from '../domain/order.ts'
import { bootPlan } from './gate.ts'
import { loaderFetched } from './loader-ladder.ts'

/** What is known of the machine that asks; all null for a stranger. */
export type BootFacts = {
  port: Port | null
  node: Node | null
  /** The node's latest order, open or not. */
  order: Order | null
  image: Image | null
}

/** How every machine-facing answer looks for us, the same for all machines. */
export type BootSettings = {
  /** Where machines reach us, `http://192.0.2.1`, without a slash at the end. */
  url: string
  /** sha256 of the deploy kernel and ramdisk of each architecture that has them: their names under `/boot/`. */
  ramdisks: Readonly<Partial<Record<CpuArch, { kernel: string; ramdisk: string }>>>
  console: readonly string[]
  kernelArguments: readonly string[]
}

/** `http://192.0.2.1`, with the port where it is not 80. */
export function machineUrl(address: string, port: number): string {
  return port === 80 ? `http://${address}` : `http://${address}:${port}`
}

/** Names of loaders, lower case → something; only membership is asked. */
export type LoaderNames = { has(name: string): boolean }

/** What is asked for, once its name is understood. */
export type BootFile =
  | { file: 'kernel' | 'ramdisk' }
  | { file: 'loader'; name: string }
  | { file: 'manifest'; digest: string }
  | { file: 'chunk'; sha256: string }

/**
 * Why a file is not given: `stranger` (the address belongs to no enrolled machine), `not-now` (the gate says no), `unknown-file`
 * (no such thing here), `other-image` (not the image that this machine is to get), `write` (nobody may write).
 */
export type FileRefusal = 'stranger' | 'not-now' | 'unknown-file' | 'other-image' | 'write'

export type FileVerdict =
  | { serve: true; plan: Extract<BootPlan, { boot: 'ramdisk' }> }
  | { serve: false; refusal: FileRefusal; reason: string }

/** Boot files are for the window in which the machine has to run the ramdisk, image content only for its own image. */
export function decideFile(asked: BootFile, facts: BootFacts): FileVerdict {
  if (!facts.node || !facts.port) return { serve: false, refusal: 'stranger', reason: 'not enrolled' }
  const plan = bootPlan(facts)
  if (plan.boot !== 'ramdisk') return { serve: false, refusal: 'not-now', reason: plan.reason }
  if (asked.file === 'manifest' || asked.file === 'chunk') {
    if (facts.order?.kind !== 'deploy' || !facts.image)
      return { serve: false, refusal: 'not-now', reason: 'no deploy order for this machine' }
    // Chunks are shared between images and named by their own hash, so the manifest is where an image is guarded.
    if (asked.file === 'manifest' && asked.digest !== facts.image.digest)
      return { serve: false, refusal: 'other-image', reason: 'this machine is to get another image' }
  }
  return { serve: true, plan }
}

/** An event of a machine within its order; nothing for a stranger. */
export function machineEvent<K extends EventKind>(
  { node, order }: Pick<BootFacts, 'node' | 'order'>,
  at: number,
  kind: K,
  subject: string,
  detail: EventDetail[K]
): Change[] {
  if (!node) return []
  const orderId = order?.state === 'open' ? order.id : null
  return [{ event: { kind, at, nodeUuid: node.uuid, orderId, subject, detail } } as Change]
}

/** A file went out whole: its line in the timeline, and if it is a boot loader, something has to follow now. */
export function fileServed(
  facts: Pick<BootFacts, 'node' | 'order'>,
  detail: EventDetail['file-served'],
  now: number
): Change[] {
  return [
    ...machineEvent(facts, now, 'file-served', `${detail.protocol}:${detail.name}`, detail),
    ...loaderFetched(facts.order, detail.name, now)
  ]
}

/**
 * The line for a file that was refused. Names are the asker's words and there may be many of them: they are cut and cleaned, and the
 * event's subject is the refusal, so that a machine that asks for a thousand names fills one line a minute.
 */
export function fileRefused(
  facts: Pick<BootFacts, 'node' | 'order'>,
  protocol: 'tftp' | 'http',
  name: string,
  refusal: FileRefusal,
  reason: string,
  now: number
): Change[] {
  const shown = printable(name, 100)
  return machineEvent(facts, now, 'file-refused', `${protocol}:${refusal}`, { protocol, name: shown, reason })
}

/** A stranger's text for people's eyes: printable ASCII, at most `longest` characters. */
export function printable(text: string, longest: number): string {
  const clean = text.slice(0, longest).replace(/[^\x20-\x7e]/g, '?')
  return text.length > longest ? clean + '…' : clean
}
