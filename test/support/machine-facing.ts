// A real store with one machine in it, and the files it may boot: what the machine-facing services are tested on.

import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import pino from 'pino'
import type { Test } from 'tap'
import { createApply } from '../../services/store/apply.ts'
import { createFacts } from '../../services/store/facts.ts'
import { openStore } from '../../services/store/open.ts'
import type { BootSettings } from '../../src/decide/boot-file.ts'
import type { Image } from '../../src/domain/image.ts'
import type { Instance } from '../../src/domain/instance.ts'
import type { Node, Port } from '../../src/domain/node.ts'
import type { Order } from '../../src/domain/order.ts'
import { aNode, anImage, anInstance, anOrder, aPort, NOW } from './builders.ts'

export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

export type Given = {
  node?: Partial<Node>
  port?: Partial<Port>
  /** null: no order. */
  order?: Partial<Order> | null
  image?: Partial<Image>
  /** null: no instance (and so none in the order). */
  instance?: Partial<Instance> | null
}

/** The window in which the ramdisk is to boot. */
export const RAMDISK_WINDOW: Given = { order: { ticks: { 'powered-off': NOW } } }
/** The image is on the disk; the installed system has not been heard of. */
export const WRITTEN: Given = {
  order: {
    ticks: {
      'powered-off': NOW,
      'powered-on': NOW,
      'network-seen': NOW,
      'agent-seen': NOW,
      'image-written': NOW
    }
  }
}

/** Store, services' common dependencies and files in a folder of the test's own. `set` replaces the machine. */
export function aPlace(t: Test, given: Given = {}) {
  const dataDir = t.testdir()
  const store = openStore(dataDir)
  const facts = createFacts(store)
  const apply = createApply(store)
  t.teardown(() => store.close())

  const manifest = Buffer.from(`0\t8388608\t${'c'.repeat(64)}\n`)
  const digest = sha256(manifest)
  const chunk = randomBytes(200_000)
  for (const [folder, name, bytes] of [
    ['manifests', digest, manifest],
    [`chunks/${sha256(chunk).slice(0, 2)}`, sha256(chunk), chunk]
  ] as const) {
    mkdirSync(join(dataDir, 'images', folder), { recursive: true })
    writeFileSync(join(dataDir, 'images', folder, name), bytes)
  }
  const kernel = randomBytes(3_000_001)
  const ramdisk = randomBytes(5_000_000)
  writeFileSync(join(dataDir, 'kernel'), kernel)
  writeFileSync(join(dataDir, 'ramdisk'), ramdisk)

  function set(next: Given): void {
    store.commit(() => {
      for (const table of ['order', 'instance', 'image', 'port', 'node', 'event'])
        store.db.prepare(`DELETE FROM "${table}"`).run()
      const instance = next.instance === null ? null : anInstance(next.instance)
      const order =
        next.order === null ? null : anOrder({ instanceUuid: instance?.uuid ?? null, ...next.order })
      apply([
        { put: 'node', row: aNode(next.node) },
        { put: 'port', row: aPort({ reservedIp: '127.0.0.1', ...next.port }) },
        { put: 'image', row: anImage({ digest, ...next.image }) },
        ...(instance ? [{ put: 'instance' as const, row: instance }] : []),
        ...(order ? [{ put: 'order' as const, row: order }] : [])
      ])
    })
  }
  set(given)

  const hashes = { kernel: sha256(kernel), ramdisk: sha256(ramdisk) }
  const settings: BootSettings = {
    url: 'http://192.0.2.1',
    ramdisks: { x86_64: hashes },
    console: ['ttyS0'],
    kernelArguments: []
  }
  return {
    deps: { store, facts, apply, log: pino({ level: 'silent' }), now: () => NOW },
    dataDir,
    settings,
    hashes,
    set,
    kernel,
    ramdisk,
    manifest,
    digest,
    chunk,
    /** `kind subject` of every event, oldest first. */
    events: () => facts.events(0, 1000).map((event) => `${event.kind} ${event.subject}`)
  }
}
