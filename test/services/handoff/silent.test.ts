// For a minute a machine that is handed over asks for all that it ever got, and its BMC could be asked: Seedling says nothing to either, told from the packets.

import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { readCapture } from '../../../scripts/lab/capture.ts'
import { aHandover, aNode, aPort } from '../../support/builders.ts'
import { aFolder, ask, fill, serve } from '../../support/served.ts'
import { startIpmiSim } from '../bmc/ipmi-sim.ts'
import { aLan } from '../dhcp/watch-lan.ts'

const MINUTE = 60_000
const USER = 'true "admin" "secret123" admin 10'
const OURS = { name: 'ours', mac: '52:54:00:00:01:01', ip: '192.0.2.11', bmc: 6231 }
const GIVEN = { name: 'given', mac: '52:54:00:00:01:02', ip: '192.0.2.12', bmc: 6232 }

t.setTimeout(118_000)

t.test('a minute of silence', async (t) => {
  const [, host, , machine] = await aLan(t)
  const folder = mkdtempSync(join(tmpdir(), 'silent-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  for (const { bmc } of [OURS, GIVEN]) await startIpmiSim(t, [USER], { port: bmc, namespace: host, on: true })
  const home = aFolder(folder, 'seedling', '192.0.2.1')
  const file = join(home, 'seedling.json')
  const config = JSON.parse(readFileSync(file, 'utf8')) as object
  writeFileSync(file, JSON.stringify({ ...config, bmc: { pollSeconds: 10 } }))
  const rows = [OURS, GIVEN].flatMap(({ name, mac, ip, bmc }, index) => {
    const uuid = aNode().uuid.replace(/.$/, `${index}`)
    const handover = name === GIVEN.name ? aHandover({ finishedAt: 2 }) : null
    const driverInfo = {
      ...{ ipmi_address: '127.0.0.1', ipmi_port: bmc, ipmi_username: 'admin', ipmi_password: 'secret123' }
    }
    const port = {
      uuid: aPort().uuid.replace(/.$/, `${index}`),
      nodeUuid: uuid,
      address: mac,
      reservedIp: ip
    }
    return [
      { put: 'node' as const, row: aNode({ uuid, name, state: 'active', handover, driverInfo }) },
      { put: 'port' as const, row: aPort(port) }
    ]
  })
  fill(home, rows)
  await serve(t, host, home).serves()
  while (/"probing"/.test(await ask(home, 'dhcp', 'status', '--json'))) await sleep(100)
  const seedling = (await host.run('cat', '/sys/class/net/eth0/address')).trim()

  const capture = async (link: string) => {
    const pcap = join(folder, `${link}.pcap`)
    const child = host.spawn('tcpdump', ['-Z', 'root', '--immediate-mode', '-U', '-i', link, '-w', pcap])
    t.teardown(() => void child.kill('SIGKILL'))
    while ((statSync(pcap, { throwIfNoEntry: false })?.size ?? 0) === 0) await sleep(20)
    return () => readCapture(pcap)
  }
  const [lan, bmcs] = [await capture('eth0'), await capture('lo')]

  /** All that firmware and systems ask for. */
  async function askAs({ mac, ip }: typeof OURS) {
    await machine.run('ip', 'address', 'flush', 'dev', 'eth0')
    await machine.run('ip', 'link', 'set', 'eth0', 'address', mac)
    const attempt = (...command: [string, ...string[]]) => machine.run(...command).catch(() => null)
    for (const program of [[], ['-V', 'PXEClient:Arch:00007:UNDI:003016'], ['-V', 'HTTPClient:Arch:00016']])
      await attempt(
        'udhcpc',
        '-i',
        'eth0',
        '-f',
        '-n',
        '-q',
        '-t',
        '1',
        '-T',
        '1',
        '-s',
        '/bin/true',
        ...program
      )
    await machine.run('ip', 'address', 'add', `${ip}/24`, 'dev', 'eth0')
    await attempt('curl', '-s', '-m', '2', 'tftp://192.0.2.1/undionly.kpxe')
  }
  const began = Date.now()
  await askAs(OURS)
  while (Date.now() - began < MINUTE) await askAs(GIVEN)

  const said = (mac: string) =>
    lan().filter(({ from, to, payload }) => {
      const machineOf = payload
        .subarray(28, 34)
        .toString('hex')
        .replace(/..(?!$)/g, '$&:')
      return from.mac === seedling && (to.mac === mac || (from.port === 67 && machineOf === mac))
    })
  t.ok(said(OURS.mac).length > 0, 'what is said to machines of ours is heard')
  t.same(
    said(GIVEN.mac).map(({ from, payload }) => `${from.port}: ${payload.toString('latin1')}`),
    []
  )
  const asked = (port: number) => bmcs().filter(({ to }) => to.port === port).length
  t.ok(asked(OURS.bmc) > 0, 'what is said to BMCs of ours is heard')
  t.equal(asked(GIVEN.bmc), 0)
})
