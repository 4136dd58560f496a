// The command line: a client of the API, nothing more. Exit code 0: done; 1: refused or failed, with the API's own message on standard
// error; 2: not understood.

import { createReadStream, statSync } from 'node:fs'
import { Transform } from 'node:stream'
import { Argument, Command, CommanderError } from 'commander'
import { backupCommand } from './backup.ts'
import { bmcCommands, powerStatus } from './bmc.ts'
import { CliError, createClient, type Client, type Json } from './client.ts'
import type { AddCommand } from './command.ts'
import { showConsole, type ConsoleOptions } from './console.ts'
import { explain, listLeases, savePackets, showSeen, showStatus } from './dhcp.ts'
import type { ShownEvent } from './event-words.ts'
import { bar, bytes, day, table } from './format.ts'
import { handoffCommands } from './handoff.ts'
import { healthCommand } from './health.ts'
import {
  deleteNodes,
  deployNodes,
  importNodes,
  listDeployments,
  listNodes,
  powerNodes,
  provisionNodes,
  readText,
  showNode,
  type DeployOptions,
  type Out
} from './nodes.ts'
import { supportCommand } from './support.ts'
import { eventLine, followEvents, lastEventId, timeline } from './timeline.ts'

const DEFAULT_SOCKET = '/run/seedling/api.sock'
const EVENT_PAGE = 1000
/** `reset` and `cycle` are what others call it; all are off, then on, so that nothing can happen twice. */
const POWER: Readonly<Record<string, string>> = {
  on: 'power on',
  off: 'power off',
  reboot: 'rebooting',
  reset: 'rebooting',
  cycle: 'rebooting',
  soft: 'soft power off',
  'soft-reboot': 'soft rebooting'
}

type Common = { socket?: string; api?: string; tokenFile?: string; json?: boolean }

/** Runs one command; `argv` as in process.argv. Resolves with the exit code and never rejects for what the operator can mend. */
export async function runCli(argv: string[]): Promise<number> {
  let code = 0
  // A reader that has seen enough (head, less) closes the pipe.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
    process.exit(0)
  })
  const program = new Command('seedling')
    .description('Takes powered-off machines to running instances.')
    .exitOverride()
    .showHelpAfterError('(--help tells what there is)')
    .addHelpText(
      'after',
      '\nThe appliance itself:\n  seedling serve --config FILE\n  seedling restore BACKUP --config FILE\n  seedling backup BACKUP --config FILE   while it does not run\n  seedling rollback --config FILE\n  seedling unfence --config FILE\n  seedling appliance   settings of the appliance image'
    )

  /** A command with the options that all have; what it answers false to ends with exit code 1. */
  function command(
    parent: Command,
    usage: string,
    description: string,
    work: (client: Client, out: Out, args: string[], options: never) => Promise<boolean | void>
  ): Command {
    return parent
      .command(usage)
      .description(description)
      .option('--socket <path>', `Unix socket of the API (or SEEDLING_SOCKET; else ${DEFAULT_SOCKET})`)
      .option('--api <url>', 'address of the API, http://HOST:PORT, instead of the socket')
      .option('--token-file <file>', 'file with the token for --api')
      .option('--json', 'print JSON')
      .action(async (...given: unknown[]) => {
        const self = given.pop() as Command
        const options = given.pop() as Common
        const args = given.flat().filter((arg) => typeof arg === 'string')
        const out: Out = {
          line: (text) => void process.stdout.write(text + '\n'),
          json: (value) => void process.stdout.write(JSON.stringify(value, null, 2) + '\n'),
          asJson: options.json === true
        }
        const client = createClient(place(options))
        if ((await work(client, out, args, self.opts() as never)) === false) code = 1
      })
  }

  const node = nodeCommands(program, command)
  imageCommands(program, command)
  otherCommands(program, command)
  consoleCommand(program, command)
  dhcpCommands(program, command)
  bmcCommands(program, node, command)
  backupCommand(program, command)
  handoffCommands(program, command)
  healthCommand(program, command)
  supportCommand(program, command)

  try {
    await program.parseAsync(argv)
    return code
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
    if (!(error instanceof CliError)) throw error
    process.stderr.write(`seedling: ${error.message}\n`)
    return 1
  }
}

function nodeCommands(program: Command, command: AddCommand): Command {
  const node = program.command('node').description('machines')
  command(
    node,
    'import <file>',
    'enrol or update the machines of an inventory, and make them available',
    (client, out, [file], options: { provide: boolean }) =>
      importNodes(client, out, file as string, options.provide)
  ).option('--no-provide', 'only enrol: do not touch the BMCs')
  command(node, 'list', 'all machines and their states', listNodes)
  command(node, 'show <node>', 'everything about one machine', (client, out, [ident]) =>
    showNode(client, out, ident as string)
  )
  command(node, 'deploy <nodes...>', 'install an image', (client, out, nodes, options: DeployOptions) =>
    deployNodes(client, out, nodes, options)
  )
    .requiredOption('--image <name>', 'image to install')
    .option(
      '--key <name>',
      'key pair that may log in; may be given again',
      (name, names: string[]) => [...names, name],
      []
    )
    .option('--user-data <file>', 'cloud-init user data')
    .option('--hostname <name>', 'host name; the name of the node when absent')
    .option('--metadata <file>', 'JSON document for os-collect-config')
    .option('--wait', 'show what happens until it is done')
    .option('--despite-foreign-dhcp', 'although another DHCP server is on the link')
  const verbs: [string, string, string][] = [
    ['undeploy', 'deleted', 'switch off and make available again; ends a deployment under way'],
    ['manage', 'manage', "verify the BMC's address and password"],
    ['provide', 'provide', 'make available for deployment'],
    ['inspect', 'inspect', 'boot the ramdisk once to see what the machine has'],
    ['adopt', 'adopt', 'take a running machine as active, without touching it'],
    ['rebuild', 'rebuild', 'install the image again'],
    ['abort', 'abort', 'end a verification or inspection under way']
  ]
  for (const [name, target, description] of verbs)
    command(node, `${name} <nodes...>`, description, (client, out, nodes, options: { wait?: boolean }) =>
      provisionNodes(client, out, nodes, target, options.wait === true)
    ).option('--wait', 'until it is done')
  command(
    node,
    'power',
    'switch, or ask the BMC; soft: the operating system shuts down; reboot, reset, cycle: off, then on',
    (client, out, [act, ...nodes], options: { timeout?: string; wait?: boolean }) =>
      act === 'status'
        ? powerStatus(client, out, nodes)
        : powerNodes(client, out, nodes, POWER[act as string] as string, options)
  )
    .addArgument(new Argument('<act>').choices(['status', ...Object.keys(POWER)]))
    .addArgument(new Argument('<nodes...>'))
    .option('--timeout <seconds>', 'how long a soft one waits for the operating system')
    .option('--wait', 'until it is done')
  command(node, 'delete <nodes...>', 'forget machines', deleteNodes)
  command(
    program.command('deployment').description('installations'),
    'list',
    'all deployments',
    listDeployments
  )
  return node
}

function imageCommands(program: Command, command: AddCommand): void {
  const image = program.command('image').description('whole-disk images')
  command(image, 'add <name> <file>', 'upload a raw or qcow2 image', (client, out, [name, file]) =>
    addImage(client, out, name as string, file as string)
  )
  command(image, 'list', 'all images', async (client, out) => {
    const answer = await client.ask('GET', '/v1/images')
    if (out.asJson) return out.json(answer)
    const rows = (answer['images'] as Json[]).map((row) => [
      row['name'],
      bytes(row['size'] as number),
      bytes(row['stored_size'] as number),
      row['disk_format'],
      (row['digest'] as string).slice(0, 12),
      day(row['created_at'] as string)
    ])
    out.line(table(['NAME', 'SIZE', 'STORED', 'FORMAT', 'DIGEST', 'ADDED'], rows))
  })
  command(image, 'delete <name>', 'delete an image that no machine uses', async (client, out, [name]) => {
    await client.ask('DELETE', `/v1/images/${encodeURIComponent(name as string)}`)
    if (!out.asJson) out.line(`${name}: deleted`)
  })
}

async function addImage(client: Client, out: Out, name: string, file: string): Promise<void> {
  let size: number
  try {
    const found = statSync(file)
    if (!found.isFile()) throw new Error('it is no regular file')
    size = found.size
  } catch (error) {
    throw new CliError(`cannot read ${file}: ${(error as Error).message}`)
  }
  const terminal = process.stderr.isTTY && !out.asJson
  let sent = 0
  let shown = -1
  const meter = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      sent += chunk.length
      const percent = Math.floor((100 * sent) / Math.max(size, 1))
      if (terminal && percent !== shown)
        process.stderr.write(
          `\r${bar(sent / size)} ${percent} % of ${bytes(size)}${sent === size ? ', checking and storing…' : ''}`
        )
      shown = percent
      done(null, chunk)
    }
  })
  const source = createReadStream(file, { highWaterMark: 2 ** 20 })
  source.on('error', (error) => meter.destroy(error))
  try {
    const image = await client.upload(`/v1/images/${encodeURIComponent(name)}`, source.pipe(meter), size)
    if (terminal) process.stderr.write('\n')
    if (out.asJson) return out.json(image)
    out.line(
      `${name}: ${bytes(image['size'] as number)} of disk, ${bytes(image['stored_size'] as number)} stored, ` +
        `digest ${(image['digest'] as string).slice(0, 12)}…`
    )
  } catch (error) {
    if (terminal) process.stderr.write('\n')
    throw error
  } finally {
    source.destroy()
    meter.destroy()
  }
}

function otherCommands(program: Command, command: AddCommand): void {
  const keypair = program.command('keypair').description('public SSH keys')
  command(keypair, 'add <name> <file>', 'add a public key', async (client, out, [name, file]) => {
    const answer = await client.ask('POST', '/v1/keypairs', { name, public_key: readText(file as string) })
    if (out.asJson) out.json(answer)
    else out.line(`${name}: ${String(answer['fingerprint'])}`)
  })
  command(keypair, 'list', 'all key pairs', async (client, out) => {
    const answer = await client.ask('GET', '/v1/keypairs')
    if (out.asJson) return out.json(answer)
    const rows = (answer['keypairs'] as Json[]).map((row) => [
      row['name'],
      row['fingerprint'],
      day(row['created_at'] as string)
    ])
    out.line(table(['NAME', 'FINGERPRINT', 'ADDED'], rows))
  })
  command(
    keypair,
    'delete <name>',
    'delete a key pair; machines that have it keep it',
    async (client, out, [name]) => {
      await client.ask('DELETE', `/v1/keypairs/${encodeURIComponent(name as string)}`)
      if (!out.asJson) out.line(`${name}: deleted`)
    }
  )

  const event = program.command('event').description('what happened')
  command(
    event,
    'list',
    "the timeline of a machine, or everybody's",
    async (client, out, _args, options: { node?: string }) => {
      const events = await allEvents(client, options.node)
      if (out.asJson) return out.json({ events })
      if (events.length === 0) out.line('Nothing happened yet.')
      else if (options.node !== undefined) out.line(timeline(events))
      else {
        const width = Math.max(...events.map((one) => (one.node_name ?? one.node_uuid ?? '-').length))
        for (const one of events) out.line(eventLine(one, width))
      }
    }
  ).option('--node <node>', 'of this machine only')
  command(
    event,
    'follow',
    'what happens from now on, until interrupted',
    async (client, out, _args, options: { node?: string }) => {
      const after = await lastEventId(client)
      for await (const one of followEvents(client, after, options.node)) {
        if (out.asJson) out.line(JSON.stringify(one))
        else out.line(eventLine(one, 12))
      }
    }
  ).option('--node <node>', 'of this machine only')
}

function consoleCommand(program: Command, command: AddCommand): void {
  command(
    program,
    'console <node>',
    "a machine's serial console; ~. leaves it, ~? helps",
    (client, out, [ident], options: ConsoleOptions) => showConsole(client, out, ident as string, options)
  )
    .option('--read-only', 'only look')
    .option('--steal', 'take it from another tool that has it')
    .option('--recordings', 'list what was recorded')
    .option('--recording [id]', 'print what was recorded of a boot attempt; the last one when no id is given')
}

function dhcpCommands(program: Command, command: AddCommand): void {
  const dhcp = program.command('dhcp').description('addresses and boot files: what was answered, and why')
  command(dhcp, 'leases', 'addresses given out', (client, out, _args, options: { node?: string }) =>
    listLeases(client, out, options.node)
  ).option('--node <node>', 'of this machine only')
  command(
    dhcp,
    'explain <machine>',
    'what a machine (node or MAC) gets if it asks now, and why',
    (client, out, [machine]) => explain(client, out, machine as string)
  )
  command(
    dhcp,
    'packets <machine>',
    "save a machine's (node or MAC) last packets for Wireshark",
    (client, out, [machine], options: { output: string }) =>
      savePackets(client, out, machine as string, options.output)
  ).requiredOption('--output <file>', 'file to write; - for standard output')
  command(dhcp, 'status', 'mode, pools, other DHCP servers', showStatus)
  command(dhcp, 'seen', 'who asks on this network, and who answers', showSeen)
}

async function allEvents(client: Client, node: string | undefined): Promise<ShownEvent[]> {
  const events: ShownEvent[] = []
  for (;;) {
    const query = new URLSearchParams({ after: String(events.at(-1)?.id ?? 0), limit: String(EVENT_PAGE) })
    if (node !== undefined) query.set('node', node)
    const page = ((await client.ask('GET', `/v1/events?${query}`)) as { events: ShownEvent[] }).events
    events.push(...page)
    if (page.length < EVENT_PAGE) return events
  }
}

function place(options: Common): Parameters<typeof createClient>[0] {
  if (options.api === undefined)
    return { socket: options.socket ?? process.env['SEEDLING_SOCKET'] ?? DEFAULT_SOCKET }
  if (options.tokenFile === undefined)
    throw new CliError('--api needs --token-file: the file api-token from the dataDir of Seedling')
  if (!URL.canParse(options.api) || new URL(options.api).protocol !== 'http:')
    throw new CliError(`--api ${options.api} is no address such as http://192.0.2.1:6385`)
  return { url: new URL(options.api), token: readText(options.tokenFile).trim() }
}
