// The command line as a child process, with a real API on a Unix socket and the real conductor behind it; only the BMC is a level.

import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { startApi } from '../../../services/api/server.ts'
import { startConductor } from '../../../services/conductor/conductor.ts'
import type { Bmc, OperatorBmc, PowerState } from '../../../src/domain/bmc.ts'
import { AppError } from '../../../src/domain/error.ts'
import type { Node } from '../../../src/domain/node.ts'
import type { QuirkCard } from '../../../src/domain/quirk-card.ts'
import { aQuirkCard, someLimits } from '../../support/builders.ts'
import { someDeps } from '../api/api-under-test.ts'

const MAIN = join(import.meta.dirname, '../../../services/main.ts')

/** A BMC that does as it is told; user "wrong" cannot log in. */
function levelBmc(): (node: { uuid: string; driverInfo: Readonly<Record<string, unknown>> }) => Bmc {
  const levels = new Map<string, PowerState>()
  return ({ uuid, driverInfo }) => ({
    async product() {
      return null
    },
    async powerState() {
      if (driverInfo['ipmi_username'] === 'wrong')
        throw new AppError(
          'bmc-auth',
          `the BMC at ${String(driverInfo['ipmi_address'])} refuses user "wrong"`
        )
      return levels.get(uuid) ?? 'off'
    },
    async powerOn() {
      levels.set(uuid, 'on')
    },
    async powerOff() {
      levels.set(uuid, 'off')
    },
    async softOff() {
      levels.set(uuid, 'off')
    },
    async bootDevice() {
      return { device: 'none', persistent: false, efi: false, valid: false }
    },
    async setBootDevice(device, { persistent, efi }) {
      return { device, persistent, efi, valid: true }
    }
  })
}

/** `given`: real BMCs instead. */
export async function bench(
  t: { teardown(work: () => Promise<void>): unknown },
  given: {
    bmc?: (node: Node) => OperatorBmc
    examine?: (node: Node, wait: boolean) => Promise<QuirkCard>
  } = {}
) {
  const bench = someDeps()
  if (given.bmc) bench.deps.bmc = given.bmc
  const conductor = startConductor({
    ...bench.deps,
    limits: someLimits({ attempts: 1, minimumOffSeconds: 0 }),
    bmc: given.bmc ?? levelBmc(),
    examine: given.examine ?? (async () => aQuirkCard()),
    pollSeconds: 0
  })
  const api = await startApi({ ...bench.deps, wake: conductor.wake })
  t.teardown(async () => {
    await api.close()
    await conductor.close()
    bench.remove()
  })
  const socket = bench.deps.config.api.socket
  const start = (...args: string[]) => {
    const child = spawn(process.execPath, [MAIN, ...args], {
      env: { ...process.env, SEEDLING_SOCKET: socket, TZ: 'UTC' }
    })
    const seen = { out: '', err: '' }
    child.stdout.on('data', (part: Buffer) => (seen.out += part.toString()))
    child.stderr.on('data', (part: Buffer) => (seen.err += part.toString()))
    const ended = new Promise<{ code: number | null; out: string; err: string }>((resolve) =>
      child.on('close', (code) => resolve({ code, ...seen }))
    )
    return { child, seen, ended }
  }
  return {
    ...bench,
    start,
    run: (...args: string[]) => start(...args).ended,
    file(name: string, content: unknown) {
      const path = join(bench.folder, name)
      writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content))
      return path
    }
  }
}

export const machine = (n: number, given = {}) => ({
  name: `ctl-${n}`,
  pm_type: 'ipmi',
  pm_addr: `10.0.0.${n}`,
  pm_user: 'admin',
  pm_password: 'secret',
  mac: [`52:54:00:00:00:0${n}`],
  capabilities: 'boot_mode:uefi',
  ...given
})
