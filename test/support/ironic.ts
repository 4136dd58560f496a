// A real Ironic, API and conductor in one process, standalone: Debian's ironic-api and ironic-conductor, SQLite, no authentication, on loopback. For deep
// tests, which install it when it is missing: 300 packages are too many for every run.

import { execFile, spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { Test } from 'tap'

const run = promisify(execFile)

/** Packages start nothing while they are installed. */
export async function installIronic(): Promise<void> {
  if (existsSync('/usr/bin/ironic') && existsSync('/usr/bin/baremetal')) return
  const policy = '/usr/sbin/policy-rc.d'
  const ours = !existsSync(policy)
  if (ours) writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 })
  try {
    const packages = ['ironic-api', 'ironic-conductor', 'python3-ironicclient']
    await run(
      'apt-get',
      ['-o', 'DPkg::Lock::Timeout=300', 'install', '-y', '--no-install-recommends', ...packages],
      {
        env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
        maxBuffer: 2 ** 26
      }
    )
  } finally {
    if (ours) rmSync(policy)
  }
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** Ends with the test. Its power sync, by which it would notice and enforce, comes every 10 s. */
export async function startIronic(
  t: Test
): Promise<{ url: string; baremetal(...args: string[]): Promise<string> }> {
  await installIronic()
  const dir = mkdtempSync(join(tmpdir(), 'seedling-ironic-'))
  for (const name of ['http', 'tftp', 'images', 'state']) mkdirSync(join(dir, name))
  const port = await freePort()
  const elsewhere = ['glance', 'neutron', 'nova', 'swift', 'cinder', 'inspector', 'service_catalog']
    .map((section) => `[${section}]\nauth_type = none\nendpoint_override = http://127.0.0.1:1\n`)
    .join('')
  const conf = join(dir, 'ironic.conf')
  writeFileSync(
    conf,
    `[DEFAULT]
auth_strategy = noauth
host = ironic-lab
my_ip = 127.0.0.1
state_path = ${dir}/state
rpc_transport = none
enabled_hardware_types = ipmi,fake-hardware
enabled_power_interfaces = ipmitool,fake
enabled_management_interfaces = ipmitool,fake,noop
enabled_boot_interfaces = pxe,fake
enabled_deploy_interfaces = direct,fake
enabled_network_interfaces = noop
default_network_interface = noop
enabled_inspect_interfaces = no-inspect,fake
enabled_raid_interfaces = no-raid,fake
enabled_vendor_interfaces = no-vendor,ipmitool,fake
enabled_console_interfaces = no-console,fake
enabled_bios_interfaces = no-bios,fake
enabled_rescue_interfaces = no-rescue,fake
enabled_storage_interfaces = noop
[database]
connection = sqlite:///${dir}/ironic.sqlite
[api]
host_ip = 127.0.0.1
port = ${port}
[dhcp]
dhcp_provider = none
[conductor]
automated_clean = true
sync_power_state_interval = 10
[deploy]
http_url = http://127.0.0.1:1
http_root = ${dir}/http
[pxe]
tftp_root = ${dir}/tftp
tftp_master_path = ${dir}/tftp/master
images_path = ${dir}/images
instance_master_path = ${dir}/images/master
[ipmi]
command_retry_timeout = 40
min_command_interval = 1
${elsewhere}`
  )
  await run('ironic-dbsync', ['--config-file', conf, 'create_schema'])
  const child = spawn('ironic', ['--config-file', conf], { stdio: ['ignore', 'pipe', 'pipe'] })
  let said = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (said = (said + text).slice(-20_000)))
  const ended = new Promise((resolve) => child.on('close', resolve))
  t.teardown(async () => {
    child.kill('SIGKILL')
    await ended
    rmSync(dir, { recursive: true, force: true })
  })
  const url = `http://127.0.0.1:${port}`
  for (let tries = 0; ; tries++) {
    const answer = await fetch(`${url}/v1/drivers`, {
      headers: { 'x-openstack-ironic-api-version': '1.50' }
    }).catch(() => null)
    if (answer?.ok && ((await answer.json()) as { drivers: unknown[] }).drivers.length > 0) break
    if (tries > 240 || child.exitCode !== null) throw new Error(`Ironic does not come up:\n${said}`)
    await sleep(500)
  }
  return {
    url,
    async baremetal(...args) {
      const { stdout } = await run('baremetal', args, {
        env: { ...process.env, OS_AUTH_TYPE: 'none', OS_ENDPOINT: url },
        maxBuffer: 2 ** 24
      })
      return stdout
    }
  }
}
