// Beside a DHCP server that stays: dnsmasq gives the addresses, Seedling in proxyDHCP mode the boot files, to the three kinds of real
// firmware. Each machine is deployed with the tiny image. Takes some minutes.

import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { readCapture, startCapture, stopCapture } from '../../scripts/lab/capture.ts'
import { enrol, followToActive, nodeState, order } from '../../scripts/lab/deploy.ts'
import { dhcpExchanges } from '../../scripts/lab/exchanges.ts'
import { consoleText, findRack, putUp, root, takeDown, until } from '../../scripts/lab/lab.ts'
import { defaults } from '../../scripts/lab/plan.ts'
import { inNamespace, run, startDetached } from '../../scripts/lab/process.ts'
import { seedConfig, startSeed } from '../../scripts/lab/seed.ts'
import { proxied, wayOf } from './boot-path.ts'
import { buildAll } from './build.ts'

const NAME = 'proxy'
const IMAGE = { name: 'tiny', file: join(root, '.cache/image/instance/tiny.qcow2') }
/** Where dnsmasq stands on the machines' LAN. */
const OTHER = '192.0.2.2'

t.setTimeout(2_400_000)
buildAll(IMAGE.name)
const left = findRack(NAME)
if (left) await takeDown(left)
const rack = await putUp({
  ...defaults,
  ...{ name: NAME, nodes: 3, firmware: ['bios', 'uefi', 'http'], diskGiB: 1 }
})
t.teardown(() => takeDown(rack))
const names = rack.machines.map(({ name }) => name)

const { lan, seed } = rack
run(['ip', '-n', lan.namespace, 'address', 'add', `${OTHER}/${seed.lan.prefix}`, 'dev', lan.bridge])
const folder = join(rack.dir, 'dnsmasq')
mkdirSync(folder)
startDetached(
  inNamespace(lan.namespace, [
    ...['dnsmasq', '--keep-in-foreground', '--conf-file=/dev/null', '--port=0', '--no-ping', '--user=root'],
    ...[`--interface=${lan.bridge}`, '--bind-interfaces', '--dhcp-authoritative', '--log-dhcp'],
    `--dhcp-leasefile=${join(folder, 'leases')}`,
    '--dhcp-range=192.0.2.10,192.0.2.90,1h',
    // Instances ask for their metadata here. Forced, since not every client asks for this option.
    `--dhcp-option-force=121,169.254.169.254/32,${seed.lan.address}`
  ]),
  { log: join(folder, 'log'), pidFile: join(folder, 'pid') }
)

const config = seedConfig(rack) as { network: object }
await startSeed(rack, { ...config, network: { ...config.network, dhcp: { mode: 'proxy' } } })
await enrol(rack, IMAGE)

t.test('deployed: addresses from the one, boot files from the other', async (t) => {
  await startCapture(rack)
  await order(rack, names, IMAGE)
  await followToActive(rack, names)
  for (const machine of rack.machines)
    await until(
      () => consoleText(machine).includes('seedling-tiny: up'),
      `the instance of ${machine.name} did not come up`,
      { patienceMs: 600_000, everyMs: 1000 }
    )
  await stopCapture(rack)
  const packets = readCapture(rack.capture.pcap)
  const answers = dhcpExchanges(packets)
    .flatMap((exchange) => exchange.packets)
    .filter(({ message }) => message.op === 'reply')
  const given = new Set(answers.filter(({ message }) => message.yiaddr !== '0.0.0.0').map(({ message }) => message.options.serverId)) // prettier-ignore
  t.same([...given], [OTHER], 'every address came from the other server')
  for (const { name, mac, firmware } of rack.machines) {
    t.same(wayOf(packets, mac), proxied[firmware], `${name} (${firmware}) went its way`)
    t.match(await nodeState(rack, name), { provision_state: 'active' })
  }
})
