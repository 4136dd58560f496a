// "seedling console": a machine's serial console at this terminal, and what was recorded of it.

import type { WebSocket } from 'ws'
import { CliError, type Client, type Json } from './client.ts'
import { consoleKeys, KEY_HELP } from './console-keys.ts'
import { bytes, day, table } from './format.ts'
import type { Out } from './nodes.ts'

export type ConsoleOptions = {
  readOnly?: boolean
  steal?: boolean
  /** true: the newest one. */
  recording?: string | true
  recordings?: boolean
}

type Recording = Json & { id: string; updated_at: string; size: number; omitted: number; attempt: number }
type Message = { notice?: string; error?: { message: string } }

export async function showConsole(
  client: Client,
  out: Out,
  ident: string,
  options: ConsoleOptions
): Promise<void> {
  const path = `/v1/nodes/${encodeURIComponent(ident)}/console`
  if (options.recordings) return listRecordings(client, out, path)
  if (options.recording !== undefined) return printRecording(client, ident, path, options.recording)
  return attach(client, ident, path, options)
}

async function recordingsAt(client: Client, path: string): Promise<Recording[]> {
  const { recordings } = await client.ask('GET', `${path}/recordings`)
  return (recordings as Recording[]).sort((a, b) => Date.parse(a.updated_at) - Date.parse(b.updated_at))
}

async function listRecordings(client: Client, out: Out, path: string): Promise<void> {
  const recordings = await recordingsAt(client, path)
  if (out.asJson) return out.json({ recordings })
  if (recordings.length === 0) return out.line('Nothing is recorded.')
  const rows = recordings.map((recording) => [
    recording.id,
    recording['order'],
    recording.attempt,
    bytes(recording.size),
    recording.omitted > 0 ? bytes(recording.omitted) : null,
    day(recording.updated_at)
  ])
  out.line(table(['RECORDING', 'ORDER', 'ATTEMPT', 'SIZE', 'LEFT OUT', 'LAST WORD'], rows))
}

async function printRecording(
  client: Client,
  ident: string,
  path: string,
  wanted: string | true
): Promise<void> {
  const id = wanted === true ? (await recordingsAt(client, path)).at(-1)?.id : wanted
  if (id === undefined)
    throw new CliError(`nothing is recorded of ${ident}; the console is recorded while a machine is deployed`)
  const text = await client.download(`${path}/recordings/${encodeURIComponent(id)}`)
  await new Promise<void>((resolve) => process.stdout.write(text, () => resolve()))
}

/** Until "~.", the end of the console, or an interrupt where there is no terminal to type at. */
async function attach(client: Client, ident: string, path: string, options: ConsoleOptions): Promise<void> {
  const { stdin } = process
  const types = stdin.isTTY === true && !options.readOnly
  const query = new URLSearchParams({ write: String(types), steal: String(options.steal === true) })
  let end = Promise.resolve()
  const socket = await client.connect(`${path}?${query}`, (fresh) => {
    end = ended(fresh)
    // Refused from the start is told by connect().
    end.catch(() => {})
  })
  say(
    types
      ? `the console of ${ident}; ~. at the beginning of a line leaves it, ~? helps`
      : `the console of ${ident}`
  )
  const keys = stdin.isTTY ? typeInto(socket, types) : undefined
  try {
    await end
  } finally {
    if (keys) {
      stdin.off('data', keys)
      stdin.setRawMode(false)
      stdin.pause()
    }
    socket.terminate()
    process.stderr.write('\r\n')
  }
}

/** Keys go to the machine; the terminal passes all of them on. Without leave to write only the escapes count. */
function typeInto(socket: WebSocket, types: boolean): (typed: Buffer) => void {
  const read = consoleKeys()
  const onData = (typed: Buffer): void => {
    for (const action of read(typed)) {
      if (action.kind === 'leave') socket.close(1000)
      else if (action.kind === 'help') process.stderr.write(`\r\n${KEY_HELP.replaceAll('\n', '\r\n')}`)
      else if (!types) continue
      else if (action.kind === 'break') socket.send(JSON.stringify({ break: true }))
      else socket.send(action.bytes)
    }
  }
  process.stdin.setRawMode(true)
  process.stdin.on('data', onData)
  return onData
}

/** Prints what comes; CliError when the console ended by itself. */
function ended(socket: WebSocket): Promise<void> {
  return new Promise((resolve, reject) => {
    let failure: string | undefined
    socket.on('message', (data: Buffer, isBinary) => {
      if (isBinary) return void process.stdout.write(data)
      const { notice, error } = JSON.parse(data.toString()) as Message
      if (notice !== undefined) say(notice)
      failure = error?.message ?? failure
    })
    socket.on('error', (error) => (failure ??= `the connection to Seedling broke: ${error.message}`))
    socket.on('close', (code) => {
      if (failure !== undefined) reject(new CliError(failure))
      else if (code === 1000) resolve()
      else reject(new CliError('Seedling ended the console: it stopped, or this terminal was too slow'))
    })
  })
}

function say(text: string): void {
  process.stderr.write(`\r\n[seedling: ${text}]\r\n`)
}
