// `seedling handoff …`: what would be given, to whom, whether it can be, and then giving it.

import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import type { Command } from 'commander'
import { parse } from 'yaml'
import { CliError, type Client, type Json } from './client.ts'
import type { AddCommand } from './command.ts'
import { table } from './format.ts'
import type { Out } from './nodes.ts'
import { writePrivate } from './private-file.ts'

type Options = {
  export?: string
  out?: string
  secrets?: boolean
  target?: string
  targetTokenFile?: string
  targetUserFile?: string
  imageUrl?: string
  deployKernel?: string
  deployRamdisk?: string
  resourceClass?: string
  targetCloud?: string
  nova?: boolean
  bmcs?: boolean
  forget?: boolean
}

const FORMATS = 'ironic, bifrost, instackenv, metal3, plain, kea, dnsmasq, dhcpd or neutron'

export function handoffCommands(program: Command, command: AddCommand): void {
  const handoff = program.command('handoff').description('give machines to the real cloud')
  const described = (made: Command) =>
    made
      .option('--image-url <base>', 'where the other side finds images for rebuilds, as BASE/NAME.raw')
      .option('--deploy-kernel <url>', "kernel of the other side's agent, unless its configuration has it")
      .option('--deploy-ramdisk <url>', 'the same, ramdisk')
      .option('--resource-class <name>', 'for machines that have none (baremetal)')
      .option('--nova', 'the cloud has Nova: it is let "deploy" them with a driver that does nothing')
  const targeted = (made: Command) =>
    described(made)
      .requiredOption('--target <url>', "Ironic's API")
      .option('--target-token-file <file>', 'a token for it (X-Auth-Token)')
      .option('--target-user-file <file>', 'name:password for it (HTTP basic authentication)')
      .option('--target-cloud <name>', 'log in to its Keystone as clouds.yaml says of this cloud')
  described(
    command(
      handoff,
      'plan [nodes...]',
      'what would be given, and what stands in the way; nothing is sent',
      plan
    )
  )
    .option('--export <format>', `write it for somebody: ${FORMATS}`)
    .option('--out <folder>', 'where to; files are readable by their owner only', '.')
    .option('--secrets', 'with the BMC passwords')
  targeted(
    command(
      handoff,
      'check [nodes...]',
      'ask the other side whether it can take them; nothing is changed there',
      check
    )
  ).option('--bmcs', 'have Ironic log in to each BMC, by a node there that is deleted again')
  targeted(
    command(handoff, 'commit [nodes...]', 'let go of them and have Ironic adopt them, as they run', commit)
  )
  command(handoff, 'status', 'how far each has come', status)
  command(
    handoff,
    'undo <nodes...>',
    'take them back; nothing is done to the machines',
    async (client, out, nodes, options: Options) => {
      const query = options.forget ? '?forget=true' : ''
      for (const node of nodes) {
        await client.ask('DELETE', `/v1/handoff/${encodeURIComponent(node)}${query}`)
        if (!out.asJson) out.line(`${node}: ours again`)
      }
    }
  ).option('--forget', 'without asking the other side: it is gone for good, or knows nothing of them')
  command(
    handoff,
    'finish',
    'the last step, not to be undone: stop DHCP, TFTP and boot paths for all',
    async (client, out) => {
      const answer = await client.ask('POST', '/v1/handoff/finish')
      if (out.asJson) return out.json(answer)
      out.line(endingWords(answer['ending'] as Ending))
    }
  )
  command(handoff, 'report', 'what was handed over, signed', async (client, out) => {
    const report = await client.ask('GET', '/v1/handoff/report')
    if (out.asJson) return out.json(report)
    out.line(
      `${String(report['text'])}\nsignature (Ed25519) ${String(report['signature'])}\n${String(report['publicKey'])}`
    )
  })
}

type Ending = { finishedAt: number | null; stillAsking: string[]; canSwitchOff: boolean }

function endingWords({ stillAsking, canSwitchOff }: Ending): string {
  if (canSwitchOff)
    return 'Nothing is served here any more, and nobody asks for metadata: the appliance can be switched off.'
  return stillAsking.length > 0
    ? `Only metadata is answered here. These still ask for it: ${stillAsking.join(', ')}. Give them another place to ask.`
    : 'Only metadata is answered here. Whether anybody still asks for it is known in a few minutes: seedling handoff status'
}

function bodyOf(nodes: string[], options: Options): Json {
  const read = (file: string): string => {
    try {
      return readFileSync(file, 'utf8').trim()
    } catch (error) {
      throw new CliError(`cannot read ${file}: ${(error as Error).message}`)
    }
  }
  return {
    ...(nodes.length > 0 ? { nodes } : {}),
    ...(options.imageUrl ? { image_url: options.imageUrl } : {}),
    ...(options.deployKernel ? { deploy_kernel: options.deployKernel } : {}),
    ...(options.deployRamdisk ? { deploy_ramdisk: options.deployRamdisk } : {}),
    ...(options.resourceClass ? { resource_class: options.resourceClass } : {}),
    ...(options.nova ? { nova: true } : {}),
    ...(options.target
      ? {
          target: {
            url: options.target,
            ...(options.targetTokenFile ? { token: read(options.targetTokenFile) } : {}),
            ...(options.targetUserFile ? { user: read(options.targetUserFile) } : {}),
            ...(options.targetCloud ? { keystone: cloudNamed(options.targetCloud) } : {})
          }
        }
      : {})
  }
}

/** What of a cloud in clouds.yaml is for logging in, from where OpenStack's own client looks for that file. */
function cloudNamed(name: string): Json {
  const places = [
    process.env['OS_CLIENT_CONFIG_FILE'],
    'clouds.yaml',
    join(homedir(), '.config/openstack/clouds.yaml'),
    '/etc/openstack/clouds.yaml'
  ]
  const file = places.find((place) => place !== undefined && existsSync(place))
  if (file === undefined) throw new CliError('there is no clouds.yaml; OS_CLIENT_CONFIG_FILE may name one')
  const { clouds } = (parse(readFileSync(file, 'utf8')) ?? {}) as { clouds?: Record<string, { auth?: Json }> }
  const auth = clouds?.[name]?.auth
  if (!auth) throw new CliError(`${file} has no "auth" of a cloud ${name}`)
  return auth
}

async function plan(client: Client, out: Out, nodes: string[], options: Options): Promise<boolean> {
  const answer = await client.ask('POST', '/v1/handoff/plan', {
    ...bodyOf(nodes, options),
    ...(options.export ? { export: options.export } : {}),
    ...(options.secrets ? { secrets: true } : {})
  })
  type Planned = {
    uuid: string
    name: string | null
    blockers: { message: string }[]
    export: { ports: unknown[]; instanceInfo: Json; reservations: { ip: string }[] }
  }
  const rows = (answer['plan'] as { nodes: Planned[] }).nodes
  const blocked = rows.filter(({ blockers }) => blockers.length > 0)
  if (out.asJson) out.json(answer)
  else if (rows.length === 0) out.line('There are no machines.')
  else
    out.line(
      table(
        ['NODE', 'PORTS', 'ADDRESS', 'IMAGE', 'READY'],
        rows.map(({ uuid, name, blockers, export: node }) => [
          name ?? uuid,
          String(node.ports.length),
          node.reservations[0]?.ip ?? '-',
          String(node.instanceInfo['image_source'] ?? '-'),
          blockers.length === 0 ? 'yes' : 'no'
        ])
      )
    )
  if (!out.asJson)
    for (const { uuid, name, blockers } of blocked)
      for (const { message } of blockers) out.line(`${name ?? uuid}: ${message}`)
  const files = answer['files'] as Record<string, string> | undefined
  if (files) {
    const folder = options.out ?? '.'
    mkdirSync(folder, { recursive: true })
    for (const [name, content] of Object.entries(files)) {
      writePrivate(join(folder, name), content, true)
      if (!out.asJson) out.line(`written: ${join(folder, name)}`)
    }
  }
  return blocked.length === 0
}

async function check(client: Client, out: Out, nodes: string[], options: Options): Promise<boolean> {
  const answer = await client.ask('POST', '/v1/handoff/check', {
    ...bodyOf(nodes, options),
    ...(options.bmcs ? { bmcs: true } : {})
  })
  const findings = answer['findings'] as string[]
  if (out.asJson) out.json(answer)
  else for (const finding of findings) out.line(finding)
  return !findings.some((finding) => finding.startsWith('PROBLEM'))
}

async function commit(client: Client, out: Out, nodes: string[], options: Options): Promise<void> {
  const answer = await client.ask('POST', '/v1/handoff', bodyOf(nodes, options))
  if (out.asJson) return out.json(answer)
  const given = answer['nodes'] as string[]
  out.line(
    given.length === 0
      ? 'Nothing left to hand over.'
      : `On their way: ${given.join(', ')}. How far: seedling handoff status`
  )
}

async function status(client: Client, out: Out): Promise<void> {
  const answer = await client.ask('GET', '/v1/handoff')
  if (out.asJson) return out.json(answer)
  const rows = answer['nodes'] as Json[]
  if (rows.length === 0) return out.line('No machine is handed over, or on its way.')
  out.line(
    table(
      ['NODE', 'TO', 'STATE'],
      rows.map((row) => [
        row['name'] ?? row['uuid'],
        row['target'],
        row['finishedAt'] === null
          ? `on its way${row['trouble'] ? `: ${String(row['trouble'])}` : ''}`
          : 'handed over'
      ])
    )
  )
  const ending = answer['ending'] as Ending
  if (ending.finishedAt !== null) out.line(endingWords(ending))
}
