// A real Keystone on loopback, of Debian's package: SQLite, Fernet tokens, the user admin with a role on the project admin and on the whole system.

import { execFile, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { Test } from 'tap'
import { freePort } from './ironic.ts'

const execute = promisify(execFile)

export const ADMIN = {
  username: 'admin',
  password: 'pass word',
  user_domain_name: 'Default',
  project_name: 'admin',
  project_domain_name: 'Default'
}

/** Ends with the test. */
export async function startKeystone(t: Pick<Test, 'teardown'>): Promise<{ url: string }> {
  const dir = mkdtempSync(join(tmpdir(), 'seedling-keystone-'))
  const port = await freePort()
  const conf = join(dir, 'keystone.conf')
  const keys = ['fernet', 'credential'].map((name) => join(dir, name))
  for (const folder of keys) mkdirSync(folder)
  writeFileSync(
    conf,
    `[DEFAULT]
log_file = ${dir}/log
[database]
connection = sqlite:///${dir}/keystone.sqlite
[fernet_tokens]
key_repository = ${keys[0]}
[fernet_receipts]
key_repository = ${keys[0]}
[credential]
key_repository = ${keys[1]}
`
  )
  const manage = (...args: string[]) => execute('keystone-manage', ['--config-file', conf, ...args])
  const url = `http://127.0.0.1:${port}`
  await manage('db_sync')
  for (const kind of ['fernet_setup', 'credential_setup'])
    await manage(kind, '--keystone-user', 'root', '--keystone-group', 'root')
  const urls = ['public', 'internal'].flatMap((kind) => [`--bootstrap-${kind}-url`, `${url}/v3`])
  await manage('bootstrap', '--bootstrap-password', ADMIN.password, ...urls)
  const child = spawn('keystone-wsgi-public', ['--host', '127.0.0.1', '--port', `${port}`], {
    env: { ...process.env, OS_KEYSTONE_CONFIG_FILES: conf, OS_KEYSTONE_CONFIG_DIR: dir },
    stdio: 'ignore'
  })
  const ended = new Promise((resolve) => child.on('close', resolve))
  t.teardown(async () => {
    child.kill('SIGKILL')
    await ended
    rmSync(dir, { recursive: true })
  })
  for (let tries = 0; !(await fetch(`${url}/v3`).catch(() => null))?.ok; tries++) {
    if (tries > 240 || child.exitCode !== null) throw new Error('Keystone does not come up')
    await sleep(250)
  }
  return { url }
}
