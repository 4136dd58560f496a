// The server's side of the agent protocol (image/README.md), as small as a test can have it, with switches for the
// trouble the agent must survive.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { TestImage } from './whole-disk.ts'

export interface Call {
  name: string
  body: unknown
}

export interface Inventory {
  [key: string]: unknown
  disks: { path: string; size: number; serial: string | null; wwn: string | null; usb?: boolean }[]
}

export interface Options {
  token: string
  image?: TestImage
  /** the answer to hello */
  task: (inventory: Inventory, url: string) => unknown
  files?: Record<string, string>
  /** Called before each chunk is sent: bytes to send in place of it, or 'vanish' to stop in the middle of it. */
  onChunk?: (sha256: string, times: number) => Buffer | 'vanish' | undefined
}

export interface AgentServer {
  /** as the machine in QEMU's user network sees it */
  url: string
  calls: Call[]
  /** how often each chunk was sent whole */
  delivered: Map<string, number>
  /** resolves with the body of the first call of that name */
  heard: (name: string) => Promise<unknown>
  close: () => Promise<void>
}

/** Starts on a free loopback port. `vanish` closes the port and every connection for four seconds. */
export const startAgentServer = async (options: Options): Promise<AgentServer> => {
  const calls: Call[] = []
  const asked = new Map<string, number>()
  const delivered = new Map<string, number>()
  const waiting: { name: string; resolve: (body: unknown) => void }[] = []
  let server: Server
  let port = 0
  const url = () => `http://10.0.2.2:${port}`

  const open = async () => {
    server = createServer((request, response) => void serve(request, response))
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
    port = (server.address() as AddressInfo).port
  }
  const close = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve())
      server.closeAllConnections()
    })
  const vanish = async () => {
    await close()
    await sleep(4000)
    await open()
  }

  const answers: Record<string, (body: unknown) => unknown> = {
    'POST /agent/hello': (body) => options.task(body as Inventory, url()),
    'POST /agent/progress': () => ({}),
    'POST /agent/written': () => ({ then: 'reboot' }),
    'POST /agent/failed': () => ({}),
    'GET /agent/config-drive': () => ({
      label: 'config-2',
      files: Object.entries(options.files ?? {}).map(([path, text]) => ({
        path,
        content: Buffer.from(text).toString('base64')
      }))
    })
  }

  const serve = async (request: IncomingMessage, response: ServerResponse) => {
    const parts: Buffer[] = []
    for await (const part of request) parts.push(part as Buffer)
    const text = Buffer.concat(parts).toString()
    const body: unknown = text === '' ? undefined : JSON.parse(text)
    const name = `${request.method} ${request.url}`
    if (request.headers.authorization !== `Bearer ${options.token}`) {
      calls.push({ name: 'no token', body: name })
      response.writeHead(401).end()
      return
    }
    const chunk = /^GET \/images\/chunks\/(.*)$/.exec(name)?.[1]
    if (chunk !== undefined) {
      await sendChunk(chunk, response)
    } else if (name === `GET /images/${options.image?.digest}/manifest`) {
      response.end(options.image?.manifest)
    } else {
      calls.push({ name, body })
      const answer = answers[name]
      response.writeHead(answer ? 200 : 404, { 'content-type': 'application/json' })
      response.end(JSON.stringify(answer ? answer(body) : { code: 'not-found', message: name }))
      for (const one of waiting.filter((w) => w.name === name)) one.resolve(body)
    }
  }

  const sendChunk = async (sum: string, response: ServerResponse) => {
    const times = (asked.get(sum) ?? 0) + 1
    asked.set(sum, times)
    const frame = options.image?.chunks.get(sum)
    if (!frame) {
      response.writeHead(404).end(JSON.stringify({ code: 'not-found', message: `no chunk ${sum}` }))
      return
    }
    const instead = options.onChunk?.(sum, times)
    if (instead === 'vanish') {
      response.writeHead(200, { 'content-length': frame.length })
      response.write(frame.subarray(0, frame.length / 2))
      await sleep(100)
      await vanish()
      return
    }
    response.end(instead ?? frame)
    delivered.set(sum, (delivered.get(sum) ?? 0) + 1)
  }

  await open()
  return {
    url: url(),
    calls,
    delivered,
    heard: (name) =>
      new Promise((resolve) => {
        const already = calls.find((call) => call.name === name)
        if (already) resolve(already.body)
        else waiting.push({ name, resolve })
      }),
    close
  }
}
