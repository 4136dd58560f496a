// `seedling support FILE`: what somebody needs who looks into a problem elsewhere, as one gzipped JSON document. Made of what the API answers to
// whoever may ask, which has no secrets, and of the last lines of the log; what operators write into a node for themselves stays out.

import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { release } from 'node:os'
import { gzipSync } from 'node:zlib'
import type { Command } from 'commander'
import { CliError, type Client, type Json } from './client.ts'
import type { AddCommand } from './command.ts'
import { bytes } from './format.ts'
import type { Out } from './nodes.ts'
import { writePrivate } from './private-file.ts'
import { lastEvents } from './timeline.ts'

const UNIT = 'seedling.service'
const LOG_LINES = 5000
const EVENTS = 5000
const QUESTIONS = {
  health: '/v1/health',
  ports: '/v1/ports/detail',
  deployments: '/v1/deployments',
  images: '/v1/images',
  dhcp: '/v1/dhcp/status',
  seen: '/v1/dhcp/seen',
  leases: '/v1/dhcp/leases',
  handoff: '/v1/handoff'
}
/** Of a node. `extra`, `instance_info` and `description` are the operator's own, and may hold anything. */
const OPERATORS_OWN: readonly string[] = ['extra', 'instance_info', 'description']

export function supportCommand(program: Command, command: AddCommand): void {
  command(
    program,
    'support <file>',
    'what is needed to look into a problem elsewhere, without passwords and tokens: read it with "zcat FILE | jq"',
    (client, out, [file], options: { force?: boolean }) => support(client, out, file as string, options)
  ).option('--force', 'although the file is there already')
}

async function support(
  client: Client,
  out: Out,
  file: string,
  { force }: { force?: boolean }
): Promise<void> {
  const document = gzipSync(JSON.stringify(await collect(client), null, 1))
  try {
    writePrivate(file, document, force === true)
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    throw new CliError(code === 'EEXIST' ? `${file} is there already; --force replaces it` : message)
  }
  if (out.asJson) out.json({ file, bytes: document.length })
  else out.line(`${file}: ${bytes(document.length)}. Look into it before you give it away: zcat ${file}`)
}

async function collect(client: Client): Promise<Json> {
  // What cannot be had is itself something to know.
  const attempt = async (work: () => unknown): Promise<unknown> => {
    try {
      return await work()
    } catch (error) {
      return { error: (error as Error).message }
    }
  }
  const answers: Json = {}
  for (const [name, path] of Object.entries(QUESTIONS))
    answers[name] = await attempt(() => client.ask('GET', path))
  return {
    madeAt: new Date().toISOString(),
    host: { system: osRelease(), kernel: release(), arch: process.arch },
    ...answers,
    nodes: await attempt(async () => {
      const { nodes } = (await client.ask('GET', '/v1/nodes/detail')) as { nodes: Json[] }
      return nodes.map((node) =>
        Object.fromEntries(Object.entries(node).filter(([name]) => !OPERATORS_OWN.includes(name)))
      )
    }),
    events: await attempt(() => lastEvents(client, EVENTS)),
    log: await attempt(journal)
  }
}

function osRelease(): string {
  try {
    return /^PRETTY_NAME="?([^"\n]*)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'unknown'
  } catch {
    return 'unknown'
  }
}

function journal(): string[] {
  const text = execFileSync('journalctl', ['-u', UNIT, '-n', `${LOG_LINES}`, '-o', 'cat', '--no-pager'], {
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
    stdio: ['ignore', 'pipe', 'pipe']
  })
  return text.split('\n').filter(Boolean)
}
