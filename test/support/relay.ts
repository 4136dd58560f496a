// Stands between Seedling and an Ironic, as a process of its own: `relay.ts PORT URL`. Tells every request on stdout, a line of JSON each, and does as it was
// told on stdin, a line of JSON each: `{"cut": {"match", "when"}}` cuts the next request whose line matches, before or after it was passed on, and tells so;
// `{"hold": {"uuid": count}}` passes on so many acts on a node and answers 503 to the next ones; `{"hold": {}}` ends that.

import { createServer, request, type IncomingMessage } from 'node:http'
import { createInterface } from 'node:readline'
import { buffer } from 'node:stream/consumers'

export type Cut = { match: string; when: 'before' | 'after' }
export type Told = { line: string; status?: number; cut?: true }

const [port, url] = process.argv.slice(2)
let cut: Cut | undefined
let hold: Readonly<Record<string, number>> = {}
const acts = new Map<string, number>()
const tell = (told: Told) => process.stdout.write(`${JSON.stringify(told)}\n`)

createInterface({ input: process.stdin }).on('line', (line) => {
  const told = JSON.parse(line) as { cut?: Cut; hold?: typeof hold }
  cut = told.cut ?? cut
  if (told.hold) acts.clear()
  hold = told.hold ?? hold
})

createServer((asked, reply) => {
  void buffer(asked).then(async (body) => {
    const line = `${asked.method} ${asked.url} ${body.toString()}`
    const hit = cut && new RegExp(cut.match).test(line) ? cut.when : undefined
    if (hit) cut = undefined
    if (hit === 'before') {
      asked.destroy()
      return tell({ line, cut: true })
    }
    if (isHeld(asked.method, line)) {
      tell({ line, status: 503 })
      return reply.writeHead(503).end()
    }
    const answer = await passOn(asked, body)
    const content = await buffer(answer)
    tell({ line, status: answer.statusCode ?? 0, ...(hit ? { cut: true } : {}) })
    if (hit) asked.destroy()
    else reply.writeHead(answer.statusCode ?? 502, answer.headers).end(content)
  })
}).listen(Number(port), '127.0.0.1', () => process.stdout.write('listening\n'))

/** Looks are not counted, but "validate" is, the last thing that is done. */
function isHeld(method: string | undefined, line: string): boolean {
  const uuid = Object.keys(hold).find((one) => line.includes(one))
  if (uuid === undefined || (method === 'GET' && !/\/validate /.test(line))) return false
  const count = acts.get(uuid) ?? 0
  if (count >= (hold[uuid] as number)) return true
  acts.set(uuid, count + 1)
  return false
}

function passOn(asked: IncomingMessage, body: Buffer): Promise<IncomingMessage> {
  const { method, headers } = asked
  return new Promise((resolve, reject) =>
    request(`${url}${asked.url}`, { method: method as string, headers }, resolve)
      .on('error', reject)
      .end(body)
  )
}
