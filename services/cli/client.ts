// The API's client: one request at a time over the Unix socket, or over TCP with a token.

import { request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http'
import { connect } from 'node:net'
import type { Readable } from 'node:stream'
import { WebSocket } from 'ws'

export type Json = Record<string, unknown>

/** A message for the person at the terminal; the command ends with exit code 1. */
export class CliError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'CliError'
  }
}

/** Where the API is. */
export type Place = { socket: string } | { url: URL; token: string }

export type Client = ReturnType<typeof createClient>

/** A server that says nothing for this long is not there any more; streams send heartbeats more often. */
const SILENCE_MILLISECONDS = 60_000

export function createClient(place: Place) {
  function open(method: string, path: string, headers: Record<string, string | number>): RequestOptions {
    const common = { method, path, headers }
    if ('socket' in place) return { ...common, socketPath: place.socket }
    const { hostname, port } = place.url
    return {
      ...common,
      host: hostname.replace(/^\[(.*)\]$/, '$1'),
      port: port || 6385,
      headers: { ...headers, authorization: `Bearer ${place.token}` }
    }
  }

  function send(
    method: string,
    path: string,
    headers: Record<string, string | number>,
    body: string | Readable | undefined,
    silence: number
  ): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const request = httpRequest(open(method, path, headers))
      request.setTimeout(silence, () => request.destroy(new Error(`no answer for ${silence / 1000} s`)))
      request.on('error', (error: NodeJS.ErrnoException) => reject(new CliError(unreachable(place, error))))
      request.on('response', (response) => {
        if (typeof body === 'object' && (response.statusCode ?? 500) >= 400) {
          // Refused half-way: nobody waits for the rest, so the connection must not either.
          body.unpipe(request)
          response.on('end', () => request.destroy())
        }
        resolve(response)
      })
      if (typeof body === 'object') {
        body.on('error', (error) => request.destroy(error))
        body.pipe(request)
      } else request.end(body)
    })
  }

  async function answer(response: IncomingMessage): Promise<Json> {
    let text = ''
    response.setEncoding('utf8')
    for await (const part of response) text += part as string
    if ((response.statusCode ?? 500) >= 400) throw new CliError(messageOf(text, response.statusCode ?? 500))
    return text === '' ? {} : (JSON.parse(text) as Json)
  }

  return {
    /** One JSON request; CliError with the API's own message when it is refused. */
    async ask(method: string, path: string, body?: unknown): Promise<Json> {
      const text = body === undefined ? undefined : JSON.stringify(body)
      const headers: Record<string, string | number> =
        text === undefined
          ? {}
          : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }
      return answer(await send(method, path, headers, text, SILENCE_MILLISECONDS))
    },

    /** Sends `size` bytes as they are; the answer may take as long as checking and converting takes. */
    async upload(path: string, stream: Readable, size: number): Promise<Json> {
      const headers = { 'content-type': 'application/octet-stream', 'content-length': size }
      return answer(await send('PUT', path, headers, stream, 0))
    },

    /** An answer that is no JSON, as it is. */
    async download(path: string): Promise<Buffer> {
      const response = await send('GET', path, {}, undefined, SILENCE_MILLISECONDS)
      if (response.statusCode !== 200) await answer(response)
      const parts: Buffer[] = []
      for await (const part of response) parts.push(part as Buffer)
      return Buffer.concat(parts)
    },

    /**
     * An open WebSocket; CliError with the API's own message when it is refused. `prepare` gets it first: messages may come
     * with the answer.
     */
    connect(path: string, prepare: (socket: WebSocket) => void): Promise<WebSocket> {
      return new Promise((resolve, reject) => {
        const { host, port, headers } = open('GET', path, {})
        const address = 'socket' in place ? 'localhost' : `${bracketed(host ?? 'localhost')}:${port}`
        const socket = new WebSocket(`ws://${address}${path}`, {
          headers: headers as Record<string, string>,
          handshakeTimeout: SILENCE_MILLISECONDS,
          ...('socket' in place ? { createConnection: () => connect(place.socket) } : {})
        })
        prepare(socket)
        socket.once('open', () => resolve(socket))
        socket.once('unexpected-response', (_request, response) => answer(response).catch(reject))
        socket.on('error', (error) => reject(new CliError(unreachable(place, error))))
      })
    },

    /** The answer to a JSON request as it comes, however long it takes. */
    async stream(method: string, path: string, body: unknown): Promise<Readable> {
      const text = JSON.stringify(body)
      const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }
      const response = await send(method, path, headers, text, 0)
      if (response.statusCode !== 200) await answer(response)
      return response
    },

    /** The data of a stream of server-sent events, until it ends. */
    async *follow(path: string): AsyncGenerator<Json> {
      const response = await send(
        'GET',
        path,
        { accept: 'text/event-stream' },
        undefined,
        SILENCE_MILLISECONDS
      )
      if (response.statusCode !== 200) await answer(response)
      response.setEncoding('utf8')
      let rest = ''
      try {
        for await (const part of response) {
          const blocks = (rest + (part as string)).split('\n\n')
          rest = blocks.pop() ?? ''
          for (const block of blocks) {
            const data = block.split('\n').find((line) => line.startsWith('data: '))
            if (data) yield JSON.parse(data.slice(6)) as Json
          }
        }
      } catch (error) {
        throw new CliError(unreachable(place, error as NodeJS.ErrnoException))
      } finally {
        response.destroy()
      }
    }
  }
}

function bracketed(host: string): string {
  return host.includes(':') ? `[${host}]` : host
}

function unreachable(place: Place, error: NodeJS.ErrnoException): string {
  const where = 'socket' in place ? place.socket : place.url.host
  const reason = error.code ?? error.message
  if ('socket' in place && (reason === 'ENOENT' || reason === 'ECONNREFUSED'))
    return `Seedling does not run here: nobody answers on ${where}. Start it ("seedling serve --config FILE"), or say where it is with --socket or --api`
  if (reason === 'EACCES')
    return `no permission to use ${where}; run this as the user that Seedling runs as, or root`
  return `cannot talk to Seedling at ${where}: ${reason}`
}

/** The `faultstring` in Ironic's error body; the body as it is when it is something else. */
function messageOf(text: string, status: number): string {
  try {
    const { error_message } = JSON.parse(text) as { error_message: string | { description?: string } }
    if (typeof error_message === 'object') return error_message.description ?? `HTTP ${status}`
    return (JSON.parse(error_message) as { faultstring: string }).faultstring
  } catch {
    return `HTTP ${status}: ${text.slice(0, 200)}`
  }
}
