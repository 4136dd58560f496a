// The thread that carries transfers: waits for datagrams and for word from the service (carrier.ts), and never returns to Node's event loop,
// whose way of receiving costs a transfer in lock-step more than everything else together.

import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { loadNative, type NativePort } from './native.ts'
import { createTransfers, type Begin, type Ended } from './transfers.ts'
import { TICK } from './wheel.ts'

export type ToWorker = { kind: 'begin'; begin: Begin } | { kind: 'close' }
export type FromWorker =
  /** `wake`: a descriptor to write to after each message. */
  | { kind: 'ready'; wake: number }
  /** The optional dependency is not there. */
  | { kind: 'unable' }
  | { kind: 'acknowledged'; id: number }
  | { kind: 'ended'; ended: Ended }

const service = parentPort as NonNullable<typeof parentPort>
const tell = (message: FromWorker): void => service.postMessage(message)

const native = await loadNative()
if (!native) tell({ kind: 'unable' })
else {
  const { address, ports: count } = workerData as { address: string; ports: number }
  const ports = Array.from({ length: count }, () => native.openPort(address))
  const wake = native.openWake()
  const transfers = createTransfers(ports, {
    acknowledged: (id) => tell({ kind: 'acknowledged', id }),
    ended: (ended) => tell({ kind: 'ended', ended })
  })
  tell({ kind: 'ready', wake: wake.fd })

  const watch = native.watch<typeof wake | NativePort>()
  for (const source of [wake, ...ports]) watch.add(source, 'readable')
  let open = true
  while (open) {
    // A turn of the wheel is due within TICK as long as anything is under way.
    watch.wait(transfers.idle() ? Infinity : TICK, (source) => {
      if ('receive' in source)
        return source.receive((message, from) => transfers.heard(source, message, from))
      source.clear()
      for (let next = receiveMessageOnPort(service); next; next = receiveMessageOnPort(service)) {
        const message = next.message as ToWorker
        if (message.kind === 'begin') transfers.begin(message.begin)
        else open = false
      }
    })
    transfers.turn()
  }
  transfers.close()
  for (const one of [watch, wake, ...ports]) one.close()
}
