// QEMU's machine protocol over the process's own stdin and stdout: one JSON object a line each way.
// Source: QEMU, docs/interop/qmp-spec.
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'

export type Qmp = {
  /** @throws Error with QEMU's description when it refuses, or when QEMU ends before it answers */
  execute(command: string, args?: Record<string, unknown>): Promise<unknown>
}

type Message = {
  QMP?: unknown
  event?: string
  data?: { reason?: string }
  id?: number
  return?: unknown
  error?: { class: string; desc: string }
}

const ENDED: Message = { error: { class: 'Ended', desc: 'QEMU has ended' } }

/** Opens the conversation; resolves when QEMU takes commands. Events go to `onEvent`: name, and reason if it has one. */
export async function openQmp(
  input: Readable,
  output: Writable,
  onEvent: (name: string, reason: string) => void
): Promise<Qmp> {
  const waiting = new Map<number, (message: Message) => void>()
  let lastId = 0
  let over = false
  const lines = createInterface({ input })
  const greeting = new Promise<void>((resolve, reject) => {
    lines.on('line', (line) => {
      const message = JSON.parse(line) as Message
      if (message.QMP) resolve()
      else if (message.event) onEvent(message.event, message.data?.reason ?? '')
      else if (message.id !== undefined) {
        waiting.get(message.id)?.(message)
        waiting.delete(message.id)
      }
    })
    lines.on('close', () => {
      over = true
      reject(new Error('QEMU ended before it was ready'))
      for (const answer of waiting.values()) answer(ENDED)
    })
  })
  // A command to a QEMU that is just ending is answered by 'close' above.
  output.on('error', () => {})

  const execute: Qmp['execute'] = (command, args = {}) =>
    new Promise((resolve, reject) => {
      const id = ++lastId
      waiting.set(id, ({ error, return: value }) =>
        error ? reject(new Error(`QEMU refused ${command}: ${error.desc}`)) : resolve(value)
      )
      if (over) return waiting.get(id)?.(ENDED)
      output.write(`${JSON.stringify({ execute: command, arguments: args, id })}\n`)
    })

  await greeting
  await execute('qmp_capabilities')
  return { execute }
}
