// What the `dhcp` commands do.

import { writeFileSync } from 'node:fs'
import { CliError, type Client, type Json } from './client.ts'
import { bytes, clock, day, record, table } from './format.ts'
import type { Out } from './nodes.ts'

/** Anything else is the name or UUID of a node: names have no colons, and hardly anybody calls a machine 52-54-00-dc-00-01. */
const MAC = /^[0-9a-f]{2}([:-][0-9a-f]{2}){5}$/i

const path = (part: string, ident: string) => `/v1/${part}/${encodeURIComponent(ident)}`

export async function listLeases(client: Client, out: Out, node: string | undefined): Promise<void> {
  const query = node === undefined ? '' : `?${new URLSearchParams({ node })}`
  const answer = await client.ask('GET', `/v1/dhcp/leases${query}`)
  if (out.asJson) return out.json(answer)
  out.line(leaseTable(answer['leases'] as Json[]))
}

function leaseTable(leases: readonly Json[]): string {
  const rows = leases.map((row) => [
    row['ip'],
    row['mac'],
    row['state'],
    row['node_name'] ?? row['node_uuid'] ?? '(not enrolled)',
    row['hostname'],
    day(row['expires_at'] as string)
  ])
  return table(['ADDRESS', 'MAC', 'STATE', 'NODE', 'HOSTNAME', 'EXPIRES'], rows)
}

type Explanation = Json & {
  mac: string
  answer: string
  relay: string | null
  address: { ip: string | null; subnet: string | null; reason: string; barred: string | null }
  gate: { boot: string; reason: string }
  node: { uuid: string; name: string | null; provision_state: string; maintenance: boolean } | null
  port: { pxe_enabled: boolean; physical_network: string | null } | null
  outcomes: Json[]
  leases: Json[]
  packets: Json[]
}

/** What happens if the machine asks now, and then everything else. Of a node, for each of its ports. */
export async function explain(client: Client, out: Out, machine: string): Promise<void> {
  const explanations: Explanation[] = []
  for (const mac of await macsOf(client, machine))
    explanations.push((await client.ask('GET', path('dhcp/explain', mac))) as Explanation)
  if (out.asJson) return out.json({ explanations })
  for (const { answer } of explanations) out.line(answer)
  for (const one of explanations) out.line('\n' + details(one))
}

async function macsOf(client: Client, machine: string): Promise<string[]> {
  if (MAC.test(machine)) return [machine]
  const { ports } = await client.ask('GET', `${path('nodes', machine)}/ports`)
  const macs = (ports as Json[]).map((port) => String(port['address']))
  if (macs.length === 0)
    throw new CliError(
      `${machine} has no ports, so its packets cannot be told from a stranger's; add its MAC`
    )
  return macs
}

function details(told: Explanation): string {
  const { address, gate, node, port, relay } = told
  const given = address.ip === null ? 'none' : [address.ip, address.subnet].filter(Boolean).join(' of ')
  const facts = {
    MAC: told.mac,
    'enrolled as': node
      ? `${node.name ?? node.uuid}, ${node.provision_state}${node.maintenance ? ', in maintenance' : ''}`
      : 'nothing',
    ...(port ? { 'boots from network': port.pxe_enabled ? 'yes' : 'no (pxe_enabled)' } : {}),
    address: `${given}: ${address.reason}`,
    ...(address.barred === null ? {} : { 'BUT the address is': address.barred }),
    'may boot now': `${gate.boot}: ${gate.reason}`,
    'asks through': relay === null ? 'no relay, it is on this network' : `relay ${relay}`
  }
  const outcomes = told.outcomes.map((row) => [
    row['client_name'],
    row['answer'] ?? 'none',
    row['ip'],
    row['boot_file'],
    row['reason']
  ])
  const parts = [
    record(facts),
    table(['ASKED BY', 'ANSWER', 'ADDRESS', 'BOOT FILE', 'WHY'], outcomes),
    told.leases.length === 0 ? 'No lease.' : leaseTable(told.leases),
    told.packets.length === 0
      ? 'No packet was seen since Seedling started.'
      : table(['LAST PACKETS', '', 'TYPE', 'FROM', 'TO', 'BYTES', 'DECISION'], told.packets.map(packetRow))
  ]
  return parts.join('\n\n')
}

function packetRow(packet: Json): unknown[] {
  const at = new Date(packet['at'] as string)
  return [
    `${clock(packet['at'] as string)}.${String(at.getMilliseconds()).padStart(3, '0')}`,
    packet['direction'] === 'in' ? '→' : '←',
    packet['type'],
    packet['from'],
    packet['to'],
    packet['size'],
    packet['decision']
  ]
}

/** Writes a capture file; `-` is standard output. */
export async function savePackets(client: Client, out: Out, machine: string, file: string): Promise<void> {
  if (file === '-' && process.stdout.isTTY)
    throw new CliError(
      'a capture is no text: send it to a program, "seedling dhcp packets … --output - | tshark -r -"'
    )
  const where = MAC.test(machine) ? path('dhcp/packets', machine) : `${path('nodes', machine)}/dhcp/packets`
  const capture = await client.download(where)
  if (file === '-') return void process.stdout.write(capture)
  try {
    writeFileSync(file, capture)
  } catch (error) {
    throw new CliError(`cannot write ${file}: ${(error as Error).message}`)
  }
  if (out.asJson) out.json({ file, bytes: capture.length })
  else out.line(`${file}: ${bytes(capture.length)}; look with Wireshark, or "tshark -V -r ${file}"`)
}

type Range = { start: string; end: string; size: number; taken: number } | null

const MODE: Readonly<Record<string, string>> = {
  server: 'addresses and boot files for enrolled machines',
  proxy: 'boot files only, beside another DHCP server',
  listen: 'sends nothing, only listens'
}

export async function showStatus(client: Client, out: Out): Promise<void> {
  const answer = await client.ask('GET', '/v1/dhcp/status')
  if (out.asJson) return out.json(answer)
  const mode = String(answer['mode'])
  const { state, servers } = answer['others'] as { state: string; servers: Json[] }
  out.line(
    record({
      mode: MODE[mode] === undefined ? mode : `${mode}: ${MODE[mode]}`,
      link: `${String(answer['interface'])}, ${String(answer['address'])}`,
      'other DHCP servers': servers.length === 0 ? `none (${state})` : state,
      ...(answer['strangers_let_in'] === 1
        ? {}
        : {
            flood: `of strangers' packets one in ${Math.round(1 / Number(answer['strangers_let_in']))} is let in`
          }),
      ...(answer['counters'] as Json)
    })
  )
  if (servers.length > 0) {
    const rows = servers.map((server) => [
      server['address'],
      server['mac'],
      server['kind'],
      server['harmless'] ? 'may be there' : 'MUST NOT BE THERE',
      day(server['first_seen_at'] as string),
      day(server['last_seen_at'] as string)
    ])
    out.line('\n' + table(['OTHER SERVER', 'MAC', 'KIND', '', 'FIRST SEEN', 'LAST SEEN'], rows))
  }
  const range = (use: Range) => (use ? `${use.start} to ${use.end}, ${use.taken} of ${use.size} taken` : null)
  const rows = (answer['subnets'] as Json[]).map((subnet) => [
    subnet['cidr'],
    subnet['name'],
    range(subnet['pool'] as Range),
    range(subnet['discovery'] as Range),
    (subnet['relays'] as string[]).join(', ')
  ])
  out.line('\n' + table(['SUBNET', 'NAME', 'POOL', 'DISCOVERY POOL', 'RELAYS'], rows))
}

export async function showSeen(client: Client, out: Out): Promise<void> {
  const answer = await client.ask('GET', '/v1/dhcp/seen')
  if (out.asJson) return out.json(answer)
  const clients = (answer['clients'] as Json[]).map((row) => [
    clock(row['last_at'] as string),
    row['mac'],
    row['node_name'] ?? row['node_uuid'] ?? '(not enrolled)',
    row['type'],
    row['client'],
    row['architecture'],
    row['relay'],
    row['server'],
    row['decision']
  ])
  const titles = [
    'LAST',
    'MAC',
    'NODE',
    'ASKED',
    'CLIENT',
    'ARCHITECTURE',
    'RELAY',
    'TAKES OFFER OF',
    'DECISION'
  ]
  out.line(clients.length === 0 ? 'Nobody asked yet.' : table(titles, clients))
  const servers = (answer['servers'] as Json[]).map((row) => {
    const told = row['answer'] as Json
    return [
      clock(row['last_at'] as string),
      row['address'],
      row['answers'],
      told['type'],
      told['mac'],
      told['ip'],
      (told['routers'] as string[]).join(', '),
      told['next_server'],
      told['boot_file']
    ]
  })
  const heads = [
    'LAST',
    'SERVER',
    'ANSWERS',
    'LAST ONE',
    'TO',
    'ADDRESS',
    'ROUTERS',
    'NEXT SERVER',
    'BOOT FILE'
  ]
  out.line('\n' + (servers.length === 0 ? 'No other server answered.' : table(heads, servers)))
}
