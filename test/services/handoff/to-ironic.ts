// The real process, a real Ironic with its real ipmi driver (ipmitool), and ipmi_sim, all in one namespace; between Seedling and Ironic is a relay that cuts and
// holds what it is told.

import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import type { Change } from '../../../src/domain/change.ts'
import { aNode, anImage, anInstance, anOrder, aPort } from '../../support/builders.ts'
import { startIronic, type IronicUnderTest } from '../../support/ironic.ts'
import type { Namespace } from '../../support/namespace.ts'
import type { Cut, Told } from '../../support/relay.ts'
import { aHostAndRoom, ask, fill, serve, type Served } from '../../support/served.ts'
import { startIpmiSim, type IpmiSim } from '../bmc/ipmi-sim.ts'

const TARGET = 'http://127.0.0.1:6390'
const USER = 'true "admin" "secret123" admin 10'
const DEPLOYMENT = ['--image-url', 'http://127.0.0.1:1', '--deploy-kernel', 'http://127.0.0.1:1/k']
export const TO_TARGET = ['--target', TARGET, ...DEPLOYMENT, '--deploy-ramdisk', 'http://127.0.0.1:1/r']
/** What is done at Ironic, in this order, as the relay tells it. */
export const ACTS = [
  '^POST /v1/nodes ',
  '^POST /v1/ports ',
  '^PATCH .*image_source',
  '^PUT .*"manage"',
  '^PUT .*"adopt"',
  '^PATCH .*"/protected"',
  '^GET .*/validate '
]

export type Machine = { uuid: string; name: string; mac: string; bmc: IpmiSim }

const id = (kind: string, number: number) => `${kind}-0000-4000-8000-${String(number).padStart(12, '0')}`

/** Active machines, each with a BMC in the namespace; their rows. */
async function someMachines(t: Test, host: Namespace, count: number): Promise<[Machine[], Change[]]> {
  const machines = await Promise.all(
    Array.from({ length: count }, async (_, index) => ({
      uuid: id('6e6f6465', index + 1),
      name: `ctl-${index + 1}`,
      mac: `52:54:00:00:00:0${index + 1}`,
      bmc: await startIpmiSim(t, [USER], { port: 6231 + index, namespace: host, on: true })
    }))
  )
  const rows = machines.flatMap(({ uuid, name, mac, bmc }, index): Change[] => {
    const given = { nodeUuid: uuid }
    const token = `${index}`.padStart(64, '0')
    const instance = anInstance({ ...given, uuid: id('696e7374', index + 1), token })
    const driverInfo = {
      ipmi_address: '127.0.0.1',
      ipmi_port: bmc.port,
      ipmi_username: 'admin',
      ipmi_password: 'secret123'
    }
    return [
      {
        put: 'node',
        row: aNode({ uuid, name, driverInfo, state: 'active', powerState: 'on', instanceUuid: instance.uuid })
      },
      { put: 'instance', row: instance },
      {
        put: 'port',
        row: aPort({
          ...given,
          uuid: id('706f7274', index + 1),
          address: mac,
          reservedIp: `192.0.2.1${index}`
        })
      },
      {
        put: 'order',
        row: anOrder({ ...given, id: id('6f726465', index + 1), token, kind: 'deploy', state: 'done' })
      }
    ]
  })
  return [machines, [{ put: 'image', row: anImage() }, ...rows]]
}

async function startRelay(t: Test, host: Namespace, ironic: IronicUnderTest) {
  const script = join(import.meta.dirname, '../../support/relay.ts')
  const child = host.spawn(process.execPath, [script, '6390', ironic.url])
  t.teardown(() => void child.kill('SIGKILL'))
  const told: Told[] = []
  const lines = createInterface({ input: child.stdout! })
  await once(lines, 'line')
  lines.on('line', (line) => told.push(JSON.parse(line) as Told))
  const order = (what: object) => void child.stdin?.write(`${JSON.stringify(what)}\n`)
  return {
    told,
    hold: (acts: Record<string, number>) => order({ hold: acts }),
    /** Resolves when that was cut. */
    async cut(cut: Cut) {
      const before = told.filter((one) => one.cut).length
      order({ cut })
      await until(() => told.filter((one) => one.cut).length > before, `${cut.when} ${cut.match}`)
    },
    /** How often Ironic did as it was asked. */
    done: (match: string) =>
      told.filter(({ line, status = 0 }) => new RegExp(match).test(line) && status >= 200 && status < 300)
        .length
  }
}

export async function until(what: () => boolean | Promise<boolean>, complaint: string): Promise<void> {
  for (const end = performance.now() + 90_000; performance.now() < end; await sleep(50))
    if (await what()) return
  throw new Error(`in vain: ${complaint}`)
}

/** Seedling on so many active machines, and an Ironic that knows nothing of them. */
export async function besideIronic(t: Test, count: number) {
  const { host, room: lan, folder: home } = await aHostAndRoom(t)
  const [machines, rows] = await someMachines(t, host, count)
  fill(home, rows)
  const ironic = await startIronic(t, { namespace: host.name })
  const relay = await startRelay(t, host, ironic)
  let process: Served = serve(t, host, home)
  await process.serves()

  type Row = { name: string; finishedAt: number | null }
  const handoff = (...args: string[]) => ask(home, 'handoff', ...args)
  const status = async () => (JSON.parse(await handoff('status', '--json')) as { nodes: Row[] }).nodes
  return {
    ...{ lan, machines, ironic, relay, handoff, status },
    seedling: (...args: string[]) => ask(home, ...args),
    /** The machine as Ironic has it. */
    there: ({ uuid }: Machine) => ironic.ask('GET', `/v1/nodes/${uuid}`),
    done: (name: string) =>
      until(
        async () => (await status()).some((row) => row.name === name && row.finishedAt !== null),
        `${name} is handed over`
      ),
    serves: () => process.serves(),
    /** Cuts what is on the wire, kills the process there, and starts it again. */
    async killedAt(cut: Cut) {
      await relay.cut(cut)
      process.stop('SIGKILL')
      await process.ended
      process = serve(t, host, home)
    }
  }
}
