// Seedling and the real cloud's DHCP server on one LAN for as long as one likes: each answers its own machines only, told from the packets on the wire.

import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { readCapture } from '../../../scripts/lab/capture.ts'
import { dhcpExchanges } from '../../../scripts/lab/exchanges.ts'
import { aHandover, aNode, aPort } from '../../support/builders.ts'
import { aFolder, ask, fill, serve } from '../../support/served.ts'
import { aLan, dnsmasq } from '../dhcp/watch-lan.ts'

t.setTimeout(120_000)

const OURS = { name: 'ours', mac: '52:54:00:00:01:01', ip: '192.0.2.11' }
const GIVEN = { name: 'given', mac: '52:54:00:00:01:02', ip: '192.0.2.12' }
const THEIRS = { name: 'theirs', mac: '52:54:00:00:01:03', ip: '192.0.2.13' }
const NOBODYS = { name: 'nobodys', mac: '52:54:00:00:01:04', ip: '' }
const SEEDLING = '192.0.2.1'
const CLOUD = '192.0.2.2'

type Machine = typeof OURS
/** A kind of its own for each: an installed system, and firmware that looks for something to boot. */
const PROGRAMS = [[], ['-V', 'PXEClient:Arch:00007:UNDI:003016']]

t.test('each answers its own only', async (t) => {
  const [lan, host, cloud, machine] = await aLan(t)
  const folder = mkdtempSync(join(tmpdir(), 'partial-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const home = aFolder(folder, 'seedling', SEEDLING)
  const file = join(home, 'seedling.json')
  const config = JSON.parse(readFileSync(file, 'utf8')) as { network: object }
  writeFileSync(
    file,
    JSON.stringify({ ...config, network: { ...config.network, dhcp: { tolerate: [CLOUD] } } })
  )
  fill(
    home,
    [OURS, GIVEN].flatMap(({ name, mac, ip }, index) => {
      const uuid = aNode().uuid.replace(/.$/, `${index}`)
      const handover = name === GIVEN.name ? aHandover({ finishedAt: 2 }) : null
      const driverInfo = { ipmi_address: `203.0.113.${index}` }
      return [
        { put: 'node' as const, row: aNode({ uuid, name, state: 'active', handover, driverInfo }) },
        {
          put: 'port' as const,
          row: aPort({
            uuid: aPort().uuid.replace(/.$/, `${index}`),
            nodeUuid: uuid,
            address: mac,
            reservedIp: ip
          })
        }
      ]
    })
  )
  const serveFor = (...machines: Machine[]) =>
    dnsmasq(
      t,
      cloud,
      '--no-ping',
      '--dhcp-range=192.0.2.0,static',
      ...machines.map(({ mac, ip }) => `--dhcp-host=${mac},${ip}`)
    )
  const theirs = await serveFor(GIVEN, THEIRS)
  await serve(t, host, home).serves()
  // At first it looks who else is there.
  while (/"probing"/.test(await ask(home, 'dhcp', 'status', '--json'))) await sleep(100)
  await machine.run('ip', 'address', 'flush', 'dev', 'eth0')

  const pcap = join(folder, 'pcap')
  const tcpdump = lan.spawn('tcpdump', ['-Z', 'root', '--immediate-mode', '-U', '-i', 'switch', '-w', pcap])
  t.teardown(() => void tcpdump.kill('SIGKILL'))
  while ((statSync(pcap, { throwIfNoEntry: false })?.size ?? 0) === 0) await sleep(20)

  /** Asks for an address as this machine; who answered it, by server id, and with which address. */
  async function askAs({ mac }: Machine) {
    await machine.run('ip', 'link', 'set', 'eth0', 'address', mac)
    const from = Date.now()
    for (const program of PROGRAMS)
      await machine
        .run('udhcpc', '-i', 'eth0', '-f', '-n', '-q', '-t', '2', '-T', '1', '-s', '/bin/true', ...program)
        .catch(() => null)
    await sleep(300)
    const packets = dhcpExchanges(readCapture(pcap).filter(({ at }) => at >= from))
      .filter((exchange) => exchange.mac === mac)
      .flatMap((exchange) => exchange.packets)
    t.ok(packets.length >= PROGRAMS.length, 'it asked')
    const replies = packets.filter(({ message }) => message.op === 'reply')
    return [...new Set(replies.map(({ from, message }) => `${from.ip} ${message.yiaddr}`))]
  }

  t.same(await askAs(OURS), [`${SEEDLING} ${OURS.ip}`])
  t.same(await askAs(GIVEN), [`${CLOUD} ${GIVEN.ip}`])
  t.same(await askAs(THEIRS), [`${CLOUD} ${THEIRS.ip}`])
  t.same(await askAs(NOBODYS), [])

  await theirs.stop()
  await serveFor(THEIRS)
  await ask(home, 'handoff', 'undo', '--forget', GIVEN.name)
  t.same(await askAs(GIVEN), [`${SEEDLING} ${GIVEN.ip}`], 'taken back')
  t.same(await askAs(THEIRS), [`${CLOUD} ${THEIRS.ip}`])
})
