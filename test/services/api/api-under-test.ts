// A real API on a real store in a folder of its own, with the DHCP service's memory and judgement but no sockets; only the image store is
// small: it hashes what it is given and keeps the row.

import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { pino } from 'pino'
import { buildApi, type ApiDeps, type Door } from '../../../services/api/server.ts'
import { checkConfig, type Config } from '../../../services/config.ts'
import { startConsoles, type ConsolesDeps } from '../../../services/console/consoles.ts'
import { openRecordings } from '../../../services/console/recordings.ts'
import { createBackups } from '../../../services/backup.ts'
import { createDryRun } from '../../../services/dhcp/dry-run.ts'
import { createObservations } from '../../../services/dhcp/observations.ts'
import { createPacketRing } from '../../../services/dhcp/packet-ring.ts'
import { startHandoff } from '../../../services/handoff/engine.ts'
import { createApply } from '../../../services/store/apply.ts'
import { createFacts } from '../../../services/store/facts.ts'
import { openStore } from '../../../services/store/open.ts'
import type { DhcpFacts } from '../../../src/decide/dhcp.ts'
import type { Change } from '../../../src/domain/change.ts'
import { AppError } from '../../../src/domain/error.ts'
import type { BootDeviceSetting } from '../../../src/domain/bmc.ts'
import type { Node } from '../../../src/domain/node.ts'
import { anImage } from '../../support/builders.ts'

export const KEY =
  'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f operator@desk'

export function aConfig(
  folder: string,
  given: { pool?: { start: string; end: string }; discovery?: object; dhcp?: object; api?: object } = {}
): Config {
  return checkConfig(
    {
      dataDir: join(folder, 'data'),
      network: {
        interface: 'lo',
        address: '192.0.2.1',
        subnets: [
          {
            cidr: '192.0.2.0/24',
            pool: given.pool ?? { start: '192.0.2.100', end: '192.0.2.199' },
            ...(given.discovery ? { discovery: given.discovery } : {})
          },
          { cidr: '198.51.100.0/24', pool: { start: '198.51.100.10', end: '198.51.100.20' } }
        ],
        ...(given.dhcp ? { dhcp: given.dhcp } : {})
      },
      api: { socket: join(folder, 'api.sock'), ...given.api },
      boot: { kernel: 'kernel', ramdisk: 'ramdisk', loaders: 'loaders' }
    },
    folder
  )
}

/** Everything the API needs, on a fresh store; `remove` closes and deletes it. */
export function someDeps(given: Parameters<typeof aConfig>[1] = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'seedling-api-'))
  const config = aConfig(folder, given)
  const store = openStore(config.dataDir)
  const facts = createFacts(store)
  const apply = createApply(store)
  const woken: string[] = []
  const ring = createPacketRing()
  const seen = createObservations({ ring, now: Date.now })
  /** What the parts that look around have found. */
  const around: {
    conflict: DhcpFacts['conflict']
    watch: ReturnType<ApiDeps['dhcp']['watch']>
    intruder: string | null
    openConsole: ConsolesDeps<Node>['open']
    lost: ReturnType<ApiDeps['lostLines']>
    bootDevice: (node: Node) => Promise<BootDeviceSetting>
  } = {
    lost: { all: 0, untold: 0 },
    bootDevice: async () => ({ device: 'none', persistent: false, efi: false, valid: false }),
    conflict: null,
    intruder: null,
    openConsole: async () => {
      throw new AppError('bmc-unreachable', 'there is no BMC here')
    },
    watch: { state: 'alone', servers: [] }
  }
  const consoles = startConsoles<Node>({
    open: (...given) => around.openConsole(...given),
    now: () => performance.now(),
    log: pino({ level: 'silent' })
  })
  const recordings = openRecordings(config.dataDir)
  const deps: ApiDeps = {
    config,
    store,
    facts,
    apply,
    log: pino({ level: 'silent' }),
    now: Date.now,
    leaseNow: Date.now,
    token: () => randomBytes(32).toString('hex'),
    wake: (nodeUuid) => void woken.push(nodeUuid),
    bmc: () => {
      throw new Error('this test has no BMC')
    },
    images: {
      async add(name: string, stream: Readable) {
        const hash = createHash('sha256')
        let size = 0
        for await (const chunk of stream) {
          hash.update(chunk as Buffer)
          size += (chunk as Buffer).length
        }
        const sha256 = hash.digest('hex')
        const row = anImage({
          id: randomUUID(),
          name,
          size,
          sha256,
          digest: sha256,
          format: 'raw',
          createdAt: Date.now()
        })
        store.commit(() => apply([{ put: 'image', row }]))
        return row
      },
      async remove(id) {
        store.commit(() => apply([{ remove: 'image', id }]))
      }
    },
    dhcp: {
      counters: { received: 3, answered: 2 },
      strangersShare: () => 0.25,
      packets: ring,
      seen,
      dryRun: createDryRun({
        facts,
        stages: new Map(),
        conflict: () => around.conflict,
        standDown: () => null,
        mode: config.network.dhcp.mode,
        settings: {
          ...{ ...config.network, httpPort: config.http.port },
          ...{ hasLoader: () => true, unicastWithoutArp: false }
        },
        now: Date.now,
        leaseNow: Date.now
      }),
      conflict: () => around.conflict,
      watch: () => around.watch,
      intruder: () => around.intruder
    },
    consoles: { join: (node, ...rest) => consoles.join(node.uuid, node, ...rest), recordings },
    handoff: startHandoff({
      asked: new Map(),
      config,
      store,
      facts,
      apply,
      log: pino({ level: 'silent' }),
      now: Date.now,
      dhcpAnswers: async () => null,
      bootedAt: () => null,
      bootDevice: (node) => around.bootDevice(node),
      letGo: () => undefined,
      onFinish: () => undefined
    }),
    lostLines: () => ({ ...around.lost }),
    backups: createBackups({ store, facts, dataDir: config.dataDir, configFile: null, now: Date.now })
  }
  return {
    deps,
    consoles,
    recordings,
    folder,
    woken,
    ring,
    seen,
    around,
    change: (changes: Change[]) => store.commit(() => apply(changes)),
    /** How many rows every table has: what "nothing half-done" is measured by. */
    rows(): Record<string, number> {
      const tables = ['node', 'port', 'image', 'keypair', 'instance', '"order"', 'event', 'lease']
      return Object.fromEntries(
        tables.map((table) => [
          table,
          store.db.prepare(`SELECT count(*) FROM ${table}`).pluck().get() as number
        ])
      )
    },
    remove() {
      store.close()
      rmSync(folder, { recursive: true, force: true })
    }
  }
}

export type Answer = { status: number; body: any; headers: Record<string, unknown> } // eslint-disable-line @typescript-eslint/no-explicit-any

/** The same, built and ready to take injected requests. `fault` reads the message out of Ironic's error body. */
export function anApi(given: Parameters<typeof aConfig>[1] = {}, door?: Door) {
  const bench = someDeps(given)
  const app = buildApi(bench.deps, door)
  async function ask(
    method: string,
    url: string,
    body?: unknown,
    headers: Record<string, string> = {}
  ): Promise<Answer> {
    const answer = await app.inject({
      method: method as 'GET',
      url,
      headers,
      ...(body === undefined ? {} : { payload: body as object })
    })
    const text = answer.body
    const json = String(answer.headers['content-type'] ?? '').startsWith('application/json')
    return { status: answer.statusCode, body: json ? JSON.parse(text) : text, headers: answer.headers }
  }
  return {
    ...bench,
    app,
    ask,
    async close() {
      await app.close()
      bench.remove()
    }
  }
}

/** The `faultstring` and `code` inside an error body. */
export function fault(answer: Answer): { faultstring: string; code: string; faultcode: string } {
  return JSON.parse(answer.body.error_message as string) as ReturnType<typeof fault>
}
