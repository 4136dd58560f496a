// The debian image from power-on to its completion signal, by either firmware, with the config-drive that Seedling writes: minutes each,
// so not part of the gate. Run it by hand: npx tap test/image/instance/debian.deep.ts

import { execFile, execFileSync } from 'node:child_process'
import { readFileSync, statSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { bootMachine, deployedDisk, metadataServer, sampleImage, workFolder } from './machine.ts'
import type { Firmware } from './machine.ts'

t.setTimeout(3_600_000)

const image = sampleImage('debian')
const work = workFolder()
t.teardown(work.remove)

const key = join(work.path, 'key')
execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'test', '-f', key])
const publicKey = readFileSync(`${key}.pub`, 'utf8').trim()

/** A port on the loopback interface that nothing uses. */
const freePort = (): Promise<number> =>
  new Promise((done) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo
      server.close(() => done(port))
    })
  })

const metadataAddress = '10.0.2.100'
const requestPath = '/latest/request/token'

const vendorScript = `#!/bin/sh
cat >/etc/os-collect-config.conf <<'END'
[DEFAULT]
collectors = request
command = os-refresh-config
[request]
metadata_url = http://${metadataAddress}${requestPath}
END
systemctl --no-block restart os-collect-config
`

const firmwares: Firmware[] = ['bios', 'uefi']
for (const firmware of firmwares) {
  await t.test(
    `${firmware}: from power-on to the completion signal, and again`,
    { timeout: 1_700_000 },
    async (t) => {
      const mac = '52:54:00:00:00:02'
      const hostname = `node-${firmware}`
      const disk = join(work.path, `${firmware}.raw`)
      deployedDisk(
        image,
        disk,
        {
          'openstack/latest/meta_data.json': {
            uuid: '11111111-2222-4333-8444-555555555555',
            hostname,
            name: hostname,
            public_keys: { default: publicKey }
          },
          'openstack/latest/network_data.json': {
            links: [{ id: 'nic0', type: 'phy', ethernet_mac_address: mac }],
            networks: [{ id: 'net0', type: 'ipv4_dhcp', link: 'nic0' }],
            services: []
          },
          'openstack/latest/user_data':
            '#cloud-config\nwrite_files:\n  - { path: /etc/user-data-was-here, content: "yes" }\nruncmd:\n  - touch /run/ran\n',
          'openstack/latest/vendor_data.json': { 'cloud-init': vendorScript }
        },
        2000
      )
      const server = await metadataServer(({ method, path }) => {
        if (path === requestPath) {
          const signal = `http://${metadataAddress}/signal`
          return JSON.stringify({
            'instance-id': 'i-42',
            'completion-handle': signal,
            'completion-signal': signal
          })
        }
        return path === '/signal' && (method === 'PUT' || method === 'POST') ? '{}' : undefined
      })
      t.teardown(server.close)
      const sshPort = await freePort()
      const hardware = {
        disk,
        firmware,
        mac,
        memoryMiB: 1024,
        cpus: 2,
        metadataAddress,
        metadataPort: server.port,
        sshPort
      }
      let machine = bootMachine(hardware)
      t.teardown(() => machine.stop())

      const ssh = async (command: string): Promise<string> => {
        const { stdout } = await promisify(execFile)(
          'ssh',
          [
            ...['-p', String(sshPort), '-i', key, '-o', 'BatchMode=yes', '-o', 'ConnectTimeout=10'],
            ...[
              '-o',
              'LogLevel=ERROR',
              '-o',
              'StrictHostKeyChecking=no',
              '-o',
              'UserKnownHostsFile=/dev/null'
            ],
            ...['debian@127.0.0.1', command]
          ],
          { timeout: 60_000 }
        )
        return stdout.trim()
      }
      /** Asks until the answer is yes, and tells when that was. */
      const until = async (what: string, ask: () => boolean | Promise<boolean>): Promise<void> => {
        const end = machine.seconds() + 600
        while (!(await Promise.resolve(ask()).catch(() => false))) {
          if (machine.seconds() > end)
            throw new Error(`${what}: not within 600 s; the console ends:\n${machine.console.slice(-4000)}`)
          await new Promise((done) => setTimeout(done, 500))
        }
        t.comment(`${firmware}: ${what} after ${machine.seconds()} s`)
      }
      const signals = () => server.calls.filter(({ path }) => path === '/signal')
      const polls = () => server.calls.filter(({ method, path }) => method === 'GET' && path === requestPath)

      await Promise.all([
        until('SSH login', async () => (await ssh('hostname')) === hostname),
        until('cloud-init done', () => /Cloud-init v\. \S+ finished/.test(machine.console)),
        until('completion signals', () => signals().length >= 2)
      ])

      t.equal(await ssh('hostname'), hostname)
      t.equal(await ssh('cat /etc/user-data-was-here; ls /run/ran'), 'yes/run/ran')
      t.equal(await ssh('sudo whoami'), 'root')
      t.match(await ssh('cloud-init status'), 'status: done')
      t.equal(
        await ssh('systemctl is-active os-collect-config systemd-resolved ssh'),
        'active\nactive\nactive'
      )
      t.equal(await ssh('systemctl list-units --failed --no-legend --plain'), '')
      t.equal(await ssh('sudo sshd -T | grep ^passwordauthentication'), 'passwordauthentication no')
      t.equal(await ssh('[ -d /sys/firmware/efi ] && echo uefi || echo bios'), firmware)
      const rootBytes = Number(await ssh('df -B1 --output=size / | tail -n 1'))
      t.ok(rootBytes > statSync(disk).size - 400 * 1024 * 1024, 'the root filesystem has grown into the disk')
      const body = { Status: 'SUCCESS', UniqueId: 'i-42' }
      const [first, second] = signals().map((call) => ({ ...call, body: JSON.parse(call.body) as object }))
      t.match(first, { method: 'PUT', type: 'application/json', body })
      t.match(second, { method: 'POST', type: 'application/json', body })
      t.comment(
        await ssh(
          'systemd-analyze time; systemd-analyze blame | head -n 25; systemd-analyze critical-chain cloud-init.target'
        )
      )
      t.comment(await ssh('free -m; df -m / ; cloud-init analyze blame | head -n 14'))

      const before = polls().length
      await until('another poll', () => polls().length > before)
      t.equal(signals().length, 2, 'nothing has changed, so the hooks have run once')

      await ssh('sudo sync')
      await machine.stop()
      machine = bootMachine(hardware)
      await until('second boot: SSH login', async () => (await ssh('hostname')) === hostname)
    }
  )
}
