// A crowd of DHCP clients in a namespace, seen from outside: what crowd.ts can be told.

import { createInterface } from 'node:readline'
import { join } from 'node:path'
import type { Namespace } from '../support/namespace.ts'
import type { Crowd, Orders } from './crowd.ts'

/** Gives an order, one at a time; resolves with the answer, rejects with what the crowd died of. */
export type TellCrowd = <Order extends keyof Orders>(
  order: Order,
  ...args: Parameters<Orders[Order]>
) => Promise<Awaited<ReturnType<Orders[Order]>>>

/** Starts the crowd; it goes when the namespace does. */
export function crowdIn(namespace: Namespace, crowd: Crowd): TellCrowd {
  const script = join(import.meta.dirname, 'crowd.ts')
  const child = namespace.spawn(process.execPath, [script, JSON.stringify(crowd)])
  const { promise: gone, reject: leave } = Promise.withResolvers<never>()
  gone.catch(() => {}) // only matters to one who waits for an answer
  let stderr = ''
  child.stderr?.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
  child.once('close', () => leave(new Error(`the crowd is gone: ${stderr}`)))
  const answers = createInterface({ input: child.stdout as NodeJS.ReadableStream })
  return (order, ...args) => {
    const answer = new Promise<string>((resolve) => answers.once('line', resolve))
    child.stdin?.write(JSON.stringify({ order, args }) + '\n')
    return Promise.race([answer, gone]).then((line) => JSON.parse(line))
  }
}
