// What the commands do that look into a machine's BMC.

import type { Command } from 'commander'
import { CliError, type Client, type Json } from './client.ts'
import type { AddCommand } from './command.ts'
import { day, table } from './format.ts'
import { cardLines } from './quirk-card.ts'
import { nodePath, settled, type Out } from './nodes.ts'

/** Boot device, event log, sensors and light below `node`, exams below `bmc`. */
export function bmcCommands(program: Command, node: Command, command: AddCommand): void {
  const bootDevice = node
    .command('boot-device')
    .description("what the machine boots from, over its BIOS's order")
  command(bootDevice, 'get <node>', 'as the BMC reads it now', (client, out, [ident]) =>
    getBootDevice(client, out, ident as string)
  )
  command(
    bootDevice,
    'set <node> <device>',
    'pxe, disk, cdrom, bios or safe',
    (client, out, [ident, device], options: { persistent?: boolean }) =>
      setBootDevice(client, out, ident as string, device as string, options.persistent === true)
  ).option('--persistent', 'at every boot, not only the next')
  command(node, 'sel <node>', "the BMC's event log", (client, out, [ident], options: { clear?: boolean }) =>
    options.clear ? clearEventLog(client, out, ident as string) : showEventLog(client, out, ident as string)
  ).option('--clear', 'forget it all')
  command(node, 'sensors <node>', 'temperatures, fans, voltages and states', (client, out, [ident]) =>
    showSensors(client, out, ident as string)
  )
  command(
    node,
    'identify <node> [light]',
    'the light on the front: on, off, or seconds',
    (client, out, [ident, light]) => identify(client, out, ident as string, light ?? 'on')
  )
  const bmc = program.command('bmc').description('baseboard management controllers')
  command(
    bmc,
    'check <node>',
    'examine the BMC: log-in, sessions, latency, boot device; nothing is switched',
    (client, out, [ident], options: { power?: boolean }) =>
      checkBmc(client, out, ident as string, options.power === true)
  ).option('--power', 'also switch the machine on and off, which stops what runs there')
  command(bmc, 'show <node>', 'what the last exam found', async (client, out, [ident]) => {
    await showBmc(client, out, ident as string)
  })
}

/** Power as the BMCs read it now, one line each; false when one could not be read. */
export async function powerStatus(client: Client, out: Out, nodes: string[]): Promise<boolean> {
  const found: Json[] = []
  for (const ident of nodes) {
    try {
      const answer = await client.ask('GET', `${nodePath(ident)}/states/power`)
      found.push({ node: ident, ok: true, ...answer })
      if (!out.asJson) out.line(`${ident}: ${String(answer['power_state'])}`)
    } catch (error) {
      if (!(error instanceof CliError)) throw error
      found.push({ node: ident, ok: false, error: error.message })
      if (!out.asJson) process.stderr.write(`seedling: ${ident}: ${error.message}\n`)
    }
  }
  if (out.asJson) out.json(found)
  return found.every(({ ok }) => ok)
}

async function getBootDevice(client: Client, out: Out, ident: string): Promise<void> {
  const answer = await client.ask('GET', `${nodePath(ident)}/management/boot_device`)
  if (out.asJson) return out.json(answer)
  const device = answer['boot_device'] as string | null
  const lasting = answer['persistent'] ? 'always' : 'at the next boot'
  out.line(
    `${ident}: ${device === null ? "none set; the machine's own boot order holds" : `${device}, ${lasting}`}`
  )
}

async function setBootDevice(
  client: Client,
  out: Out,
  ident: string,
  device: string,
  persistent: boolean
): Promise<void> {
  const path = `${nodePath(ident)}/management/boot_device`
  await client.ask('PUT', path, { boot_device: device, persistent })
  if (!out.asJson) out.line(`${ident}: ${device}, ${persistent ? 'always' : 'at the next boot'}`)
}

/** The system event log, oldest first, as the BMC numbers it. */
async function showEventLog(client: Client, out: Out, ident: string): Promise<void> {
  const answer = await client.ask('GET', `${nodePath(ident)}/bmc/sel`)
  if (out.asJson) return out.json(answer)
  const rows = (answer['sel'] as Json[]).map((event) => [
    event['record_id'],
    event['at'] === null ? null : day(event['at'] as string),
    event['subject'],
    `${String(event['event'])}${event['asserted'] === false ? ' (over)' : ''}`
  ])
  if (rows.length === 0) return out.line(`${ident}: the event log is empty`)
  out.line(table(['RECORD', 'AT', 'SENSOR', 'EVENT'], rows))
}

async function clearEventLog(client: Client, out: Out, ident: string): Promise<void> {
  await client.ask('DELETE', `${nodePath(ident)}/bmc/sel`)
  if (!out.asJson) out.line(`${ident}: the event log is cleared`)
}

async function showSensors(client: Client, out: Out, ident: string): Promise<void> {
  const answer = await client.ask('GET', `${nodePath(ident)}/bmc/sensors`)
  if (out.asJson) return out.json(answer)
  const rows = (answer['sensors'] as Json[]).map((sensor) => [
    sensor['name'],
    sensor['type'],
    sensor['value'] === null ? null : `${String(sensor['value'])} ${String(sensor['unit'])}`.trim(),
    sensor['available'] === false ? 'no reading' : (sensor['states'] as string[]).join(', ')
  ])
  if (rows.length === 0) return out.line(`${ident}: its BMC has no sensors`)
  out.line(table(['SENSOR', 'TYPE', 'READING', 'STATE'], rows))
}

/** The light on the front: `on`, `off`, or so many seconds. */
async function identify(client: Client, out: Out, ident: string, light: string): Promise<void> {
  const seconds = /^\d+$/.test(light) ? Number(light) : undefined
  if (light !== 'on' && light !== 'off' && (seconds === undefined || seconds < 1 || seconds > 255))
    throw new CliError(`${light} is neither "on", "off" nor a number of seconds from 1 to 255`)
  const body = seconds === undefined ? { state: light } : { state: 'on', seconds }
  await client.ask('PUT', `${nodePath(ident)}/management/indicators/chassis/identify`, body)
  if (!out.asJson)
    out.line(`${ident}: the light is ${light === 'off' ? 'off' : seconds ? `on for ${seconds} s` : 'on'}`)
}

/** Examines the BMC and shows what was found; false when it found a problem. */
async function checkBmc(client: Client, out: Out, ident: string, power: boolean): Promise<boolean> {
  await client.ask('POST', `${nodePath(ident)}/bmc/check`, { power })
  if (!out.asJson)
    process.stderr.write(
      `${ident}: being examined; that takes a minute and a half, as boot devices lapse after one\n`
    )
  await settled(client, ident)
  const card = await showBmc(client, out, ident)
  return !(card?.findings ?? []).some(({ kind }) => kind === 'problem')
}

type Card = Json & { findings: { kind: string; message: string }[] }

/** The quirk card; null: the BMC was never examined. */
async function showBmc(client: Client, out: Out, ident: string): Promise<Card | null> {
  const answer = await client.ask('GET', `${nodePath(ident)}/bmc`)
  const card = answer['quirk_card'] as Card | null
  if (out.asJson) out.json(answer)
  else if (card === null) out.line(`${ident}: not examined yet; "seedling bmc check ${ident}" does it`)
  else out.line(cardLines(card))
  return card
}
