// A thousand machines that load at once, from a service of its own process.

import { createSocket } from 'node:dgram'
import { createHash } from 'node:crypto'
import t from 'tap'
import { encodeTftp } from '../../../src/wire/tftp.ts'
import { content } from './content.ts'
import { read, serveApart } from './serving.ts'

const MACHINES = 1000
/** Less than the MiB of the deep run: the gate is for every day. */
const SIZE = Number(process.env.TFTP_BYTES ?? 32 * 1024)
const BLOCK = 1468

t.test(`${MACHINES} machines load ${SIZE} bytes each, at once`, { timeout: 600_000 }, async (t) => {
  const clients = Array.from({ length: MACHINES }, (_, index) => `127.1.${index >> 8}.${index & 255}`)
  const tftp = await serveApart({ address: '127.0.0.1', loaders: { 'a.efi': SIZE }, clients })
  const wanted = createHash('sha256').update(content(SIZE)).digest('hex')
  const outcomes = await Promise.all(clients.map((address) => load(address, tftp.port)))
  t.same(
    outcomes.filter((sum) => sum !== wanted),
    [],
    'none failed, none corrupt'
  )
  const { rss } = await tftp.stop()
  t.equal(tftp.log.filter(({ msg }) => msg === 'tftp served').length, MACHINES)
  t.equal(tftp.log.filter(({ msg }) => msg === 'tftp busy').length, 0)
  t.ok(rss < 300 * 2 ** 20, `${Math.round(rss / 2 ** 20)} MiB of memory`)
})

/** A ROM's way: an ACK for each block, the request and the last ACK again when nothing comes; the content's sha256. */
function load(address: string, port: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = createSocket('udp4')
    const hash = createHash('sha256')
    let expected = 1
    let transfer = port
    let last: Buffer = encodeTftp(read('a.efi', { blksize: String(BLOCK), tsize: '0' }))
    let silent = 0
    const end = (outcome: string) => {
      clearInterval(timer)
      socket.close()
      resolve(outcome)
    }
    const send = (bytes: Buffer) => socket.send((last = bytes), transfer, '127.0.0.1')
    const timer = setInterval(() => {
      if (++silent > 60) return end('gave up')
      if (silent > 1) send(last)
    }, 1000)
    socket.on('message', (message, from) => {
      silent = 0
      // The first answer decides which transfer it is; another belongs to a request that was sent twice.
      if (transfer === port) transfer = from.port
      if (from.port !== transfer) return
      if (message[1] === 5) return end(message.toString('latin1', 4))
      const ack = (block: number) => send(Buffer.from([0, 4, block >> 8, block & 255]))
      if (message[1] === 6) return ack(0)
      if (message.readUInt16BE(2) !== (expected & 0xffff)) return
      hash.update(message.subarray(4))
      ack(expected++ & 0xffff)
      if (message.length < BLOCK + 4) setTimeout(() => end(hash.digest('hex')), 50)
    })
    socket.bind(0, address, () => send(last))
  })
}
