// A real Ironic, API and conductor in one process, standalone: Debian's ironic-api and ironic-conductor, SQLite, no authentication. On loopback, or in a
// network namespace.

import { execFile, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { Test } from 'tap'
import { inNamespace } from '../../scripts/lab/process.ts'

const execute = promisify(execFile)

export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

export type IronicUnderTest = {
  url: string
  /** Its own client. */
  baremetal(...args: string[]): Promise<string>
  /** Its API as it is. Rejects unless the answer is good. */
  ask(method: string, path: string, body?: unknown): Promise<any> // eslint-disable-line @typescript-eslint/no-explicit-any
}

/** What our HOWTO has people write. */
const undercloud = /```ini\n([^`]*)```/
  .exec(readFileSync(join(import.meta.dirname, '../../services/handoff/README.md'), 'utf8'))![1]!
  .replaceAll(/^ +/gm, '')

/** Ends with the test. As the HOWTO of services/handoff/README.md has it, but its power sync, by which it would notice and enforce, comes every 10 s. */
export async function startIronic(
  t: Pick<Test, 'teardown'>,
  where: { namespace?: string; address?: string; keystone?: Record<string, string> } = {}
): Promise<IronicUnderTest> {
  const { namespace, address = '127.0.0.1', keystone } = where
  const inside = (...command: string[]) => {
    const [program = '', ...args] = namespace ? inNamespace(namespace, command) : command
    return [program, args] as const
  }
  const dir = mkdtempSync(join(tmpdir(), 'seedling-ironic-'))
  for (const name of ['http', 'tftp', 'images']) mkdirSync(join(dir, name))
  const port = namespace ? 6385 : await freePort()
  const conf = join(dir, 'ironic.conf')
  const settings = undercloud.replaceAll('UNDERCLOUD', address).replaceAll('/var/lib/ironic', dir)
  const ours = ['[api]', `port = ${port}`, '[conductor]', 'sync_power_state_interval = 10', '']
  writeFileSync(conf, [settings, ...ours, keystone ? authtoken(keystone) : ''].join('\n'))
  await execute('ironic-dbsync', ['--config-file', conf, 'create_schema'])
  const child = spawn(...inside('ironic', '--config-file', conf), { stdio: ['ignore', 'pipe', 'pipe'] })
  let said = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (said = (said + text).slice(-20_000)))
  const ended = new Promise((resolve) => child.on('close', resolve))
  t.teardown(async () => {
    child.kill('SIGKILL')
    await ended
    rmSync(dir, { recursive: true, force: true })
  })
  const url = `http://${address}:${port}`
  async function ask(method: string, path: string, body?: unknown) {
    const given =
      body === undefined ? [] : ['-H', 'content-type: application/json', '-d', JSON.stringify(body)]
    const version = 'x-openstack-ironic-api-version: 1.51'
    const curl = inside(
      'curl',
      '-sS',
      '--fail-with-body',
      '-X',
      method,
      '-H',
      version,
      ...given,
      `${url}${path}`
    )
    const { stdout } = await execute(...curl, { maxBuffer: 2 ** 24 })
    return stdout === '' ? null : JSON.parse(stdout)
  }
  for (let tries = 0; ; tries++) {
    // With authentication this is all that it tells everybody.
    const answer = await ask('GET', keystone ? '/' : '/v1/drivers').catch(() => null)
    if (keystone ? answer : answer?.drivers.length > 0) break
    if (tries > 240 || child.exitCode !== null) throw new Error(`Ironic does not come up:\n${said}`)
    await sleep(250)
  }
  return {
    url,
    ask,
    async baremetal(...args) {
      const { stdout } = await execute(...inside('baremetal', ...args), {
        env: { ...process.env, OS_AUTH_TYPE: 'none', OS_ENDPOINT: url },
        maxBuffer: 2 ** 24
      })
      return stdout
    }
  }
}

/** How Ironic asks Keystone about tokens. */
function authtoken(login: Record<string, string>): string {
  const lines = Object.entries(login).map(([name, value]) => `${name} = ${value}`)
  return [
    '[DEFAULT]',
    'auth_strategy = keystone',
    '[keystone_authtoken]',
    'auth_type = password',
    'token_cache_time = -1',
    ...lines,
    ''
  ].join('\n')
}
